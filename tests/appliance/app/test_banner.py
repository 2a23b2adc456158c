"""What `arcus run` prints is what a person needs, and can be pasted."""

from pathlib import Path

from appliance.app.banner import banner
from appliance.app.paths import StatePaths
from tests.appliance.config.base import BASE, loads

DEMO = 'demo_origin:\n  https: {address: "127.0.0.77:9443"}\n  http: {address: "127.0.0.77:9080"}\n'
PATHS = StatePaths(Path("/srv/state"))


def test_every_listener_and_ca_is_named() -> None:
    loaded = loads(BASE).config
    text = banner(loaded, PATHS, Path("arcus.yaml"), None, 2)
    assert "2 workers, arcus.yaml" in text
    for server in loaded.server:
        assert str(server.listen.address) in text
    assert "/srv/state/ca/main/ca.pem" in text
    assert "admin token" not in text
    assert "curl" not in text


def test_a_new_token_is_shown_and_the_try_out_goes_through_the_proxy() -> None:
    text = banner(loads(BASE + DEMO).config, PATHS, None, "the-token", 1)
    assert "the embedded default" in text
    (line,) = [line for line in text.splitlines() if "admin token" in line]
    assert "the-token" in line
    curls = [line.partition("#")[0].strip() for line in text.splitlines() if line.strip().startswith("curl")]
    proxy = "curl --proxy http://127.0.0.1:8080 --cacert /srv/state/ca/main/ca.pem https://origin.test:9443"
    assert curls == [f"{proxy}/", f"{proxy}/eicar.com"]
