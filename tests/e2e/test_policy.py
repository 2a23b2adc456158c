"""Access rules on live traffic: levels and their order, each action, the page, and what the origin sees of it: nothing."""

import base64
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e import origins, sockets
from tests.e2e.running import ROOT, Answer, Running, base_config, running
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-policy")]

HOSTS = ("free.test", "games.test", "www.games.test", "notgames.test", "news.test", "moved.test", "login.test", "site.test")
HOSTS += ("both.test", "switched-off.test", "first.test", "filtered.test", "portal.test", "every.test", "methods.test")
BROWSER = ("-H", "Accept: text/html,application/xhtml+xml")
PASSWORD = "p4ssword"


def _policy(name: str, host: str, action: str = "block", **more: Any) -> dict[str, Any]:
    top = {key: more.pop(key) for key in ("policy_type", "level", "priority", "enabled") if key in more}
    hosts = more.pop("hosts", {"exact": [host]})
    return {"name": name, **top, "config": {"hosts": hosts, "action": action, **more}}


POLICIES = [
    _policy("no-games", "", hosts={"child": ["games.test"]}, reason="Games are <b>not</b> allowed", priority=10),
    _policy("moved", "moved.test", "redirect", redirect_url="https://portal.test/moved?a=1"),
    _policy("who-are-you", "login.test", "require_auth"),
    _policy("site-rule", "site.test", policy_type="site"),
    _policy("custom-page", "filtered.test", policy_type="destination_filter", block_page_url="https://portal.test/blocked"),
    _policy("off", "switched-off.test", enabled=False),
    _policy("z-second", "first.test", priority=20, reason="second"),
    _policy("a-first", "first.test", priority=20, reason="first"),
    _policy("later", "first.test", priority=99, reason="later"),
    _policy("site-block", "both.test", policy_type="site", reason="by site", priority=1),
    _policy("tenant-block", "both.test", reason="by tenant", priority=100),
    _policy("secret-paths", "news.test", path_regex=["^/secret"]),
    _policy("read-only", "methods.test", methods=["POST", "DELETE"]),
    _policy("tenant-allows", "every.test", "allow"),
    _policy("user-allows", "every.test", "allow", level="user"),
    _policy("site-allows", "every.test", "allow", policy_type="site"),
]


@dataclass
class Place:
    arcus: Running
    plain: origins.Origin
    secure: origins.Origin

    def origin(self, secure: bool) -> origins.Origin:
        origin = self.secure if secure else self.plain
        origin.clear()
        return origin

    def ask(self, host: str, path: str = "/", *more: str, secure: bool = False) -> Answer:
        origin = self.origin(secure)
        scheme = "https" if secure else "http"
        return self.arcus.curl("--cacert", self.arcus.ca(), *more, f"{scheme}://{host}:{origin.port}{path}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("policy")
    trusted = origins.authority(directory)
    hashed = subprocess.run(
        [sys.executable, "-m", "appliance.cli", "user", "hash"],
        input=PASSWORD, capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout.strip()  # fmt: skip
    config = base_config(
        directory / "state",
        auditor=[origins.trusting(trusted)],
        resolver=[{"name": "local", "type": "system", "hosts": {host: ["127.0.0.1"] for host in HOSTS}}],
        user_group=[
            {"name": "staff", "anonymous": True, "static_users": [{"name": "alice", "password_hash": hashed}]},
        ],
        tenant=[
            {
                "tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct", "user_group": "staff",
                "policies": POLICIES, "branding": {"contact": "ask help@desk.test & co", "title": "Example Corp"},
            }
        ],
        server=[
            {"name": "explicit", "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}},
            {"name": "socks", "type": "socks_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}},
        ],
    )  # fmt: skip
    with (
        origins.origin() as plain,
        origins.origin(context=trusted.context(*HOSTS)) as secure,
        running(config, directory) as arcus,
    ):
        yield Place(arcus, plain, secure)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("host", ["games.test", "www.games.test"])
def test_pol_04_block_page_says_why_and_nothing_was_contacted(place: Place, host: str, secure: bool) -> None:
    """Also over HTTPS, with a certificate that the client accepts."""
    got = place.ask(host, "/page", *BROWSER, secure=secure)
    assert got.status == 403
    event = place.arcus.event(reason="policy_blocked", destination_host=host, scheme="https" if secure else "http")
    page = got.body.decode()
    for text in ("policy_blocked", "no-games", event["id"], "ask help@desk.test &amp; co", "Example Corp"):
        assert text in page
    assert "Games are &lt;b&gt;not&lt;/b&gt; allowed" in page
    assert got.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in got.headers["content-security-policy"]
    assert (event["rule"], event["level"], event["action"], event["event_type"]) == ("no-games", "tenant", "block", "block")
    origin = place.secure if secure else place.plain
    assert not origin.accepted


def test_pol_04_block_page_over_http2(place: Place) -> None:
    got = place.ask("games.test", "/h2", "--http2", *BROWSER, secure=True)
    assert (got.status, got.info["http_version"]) == (403, "2")
    assert b"no-games" in got.body


def test_pol_04_block_over_socks_and_for_head(place: Place) -> None:
    origin = place.origin(False)
    proxy = f"socks5h://127.0.0.1:{place.arcus.port('socks')}"
    assert place.arcus.curl("--proxy", proxy, f"http://games.test:{origin.port}/", via=None).status == 403
    head = place.ask("games.test", "/", "--head")
    assert (head.status, head.info["size_download"]) == (403, 0)
    assert not origin.accepted


def test_pol_04_a_blocked_upload_does_not_leave(place: Place) -> None:
    got = place.ask("games.test", "/upload", "--data-binary", "x" * 100_000)
    assert got.status == 403
    assert not place.plain.accepted


@pytest.mark.parametrize("secure", [False, True])
def test_pol_03_what_no_rule_stops_passes(place: Place, secure: bool) -> None:
    for host in ("free.test", "notgames.test", "news.test", "switched-off.test"):
        assert place.ask(host, secure=secure).status == 200
        assert place.arcus.event(destination_host=host, status=200)["decision"] == "allow"


def test_pol_01_pol_02_all_levels_are_asked_and_recorded(place: Place) -> None:
    assert place.ask("every.test").status == 200
    event = place.arcus.event(destination_host="every.test")
    assert event["policies"] == ["tenant-allows", "user-allows", "site-allows"]
    assert (event["decision"], event["action"]) == ("allow", "allow")


def test_pol_01_tenant_comes_before_site_whatever_the_priority(place: Place) -> None:
    assert place.ask("both.test").status == 403
    event = place.arcus.event(destination_host="both.test")
    assert (event["rule"], event["level"], event["detail"]) == ("tenant-block", "tenant", "by tenant")


@pytest.mark.parametrize("secure", [False, True])
def test_pol_06_redirect(place: Place, secure: bool) -> None:
    got = place.ask("moved.test", "/x?next=https://evil.test/", secure=secure)
    assert got.status == 302
    assert got.headers["location"].startswith("https://portal.test/moved?a=1&")
    assert "reason=policy_redirected" in got.headers["location"]
    assert "evil" not in got.headers["location"]
    event = place.arcus.event(reason="policy_redirected", scheme="https" if secure else "http")
    assert (event["action"], event["rule"]) == ("redirect", "moved")
    assert not (place.secure if secure else place.plain).accepted


def test_pol_07_require_auth(place: Place) -> None:
    """A host that wants a name, in a group that admits those without one elsewhere."""
    got = place.ask("login.test", "/who")
    assert got.status == 407
    assert "proxy-authenticate" in got.headers
    assert not place.plain.accepted
    assert place.ask("login.test", "/who", "--proxy-user", f"alice:{PASSWORD}").status == 200
    assert place.arcus.event(destination_host="login.test", status=200)["user_id"] == "alice"


def test_pol_07_require_auth_for_a_tunnel(place: Place) -> None:
    assert place.ask("login.test", "/who", secure=True).info["http_connect"] == 407
    assert place.ask("login.test", "/who", "--proxy-user", f"alice:{PASSWORD}", secure=True).status == 200


def test_pol_10_destination_filter_with_its_own_page(place: Place) -> None:
    got = place.ask("filtered.test", secure=True)
    assert got.status == 302
    assert got.headers["location"].startswith("https://portal.test/blocked?")
    event = place.arcus.event(destination_host="filtered.test")
    assert (event["rule"], event["reason"]) == ("tenant_destination_filter", "policy_blocked")


@pytest.mark.parametrize("host", ["site.test", "SITE.test", "site.test."])
def test_pol_11_site_rule_is_found_however_the_host_is_written(place: Place, host: str) -> None:
    assert place.ask(host).status == 403
    event = place.arcus.event(rule="site-rule")
    assert (event["level"], event["destination_host"]) == ("site", "site.test")


def test_pol_15_priority_then_name_and_disabled_rules_are_not_asked(place: Place) -> None:
    assert place.ask("first.test").status == 403
    event = place.arcus.event(destination_host="first.test")
    assert (event["rule"], event["policies"]) == ("a-first", ["a-first"])
    place.ask("switched-off.test")
    assert "off" not in place.arcus.event(destination_host="switched-off.test").get("policies", [])


@pytest.mark.parametrize(
    "path", ["/secret", "/secret/file", "/%73ecret", "/./secret", "/a/../secret", "//secret", "/secret?x", "/%2e/secret"]
)
def test_pol_04_path_rule_sees_through_spellings(place: Place, path: str) -> None:
    got = place.ask("news.test", path, "--path-as-is", secure=True)
    assert got.status == 403
    assert not place.secure.requests


def test_pol_04_method_rule(place: Place) -> None:
    assert place.ask("methods.test").status == 200
    assert place.ask("methods.test", "/", "--data", "x").status == 403
    assert place.ask("methods.test", "/", "-X", "DELETE", secure=True).status == 403


def test_pol_04_each_request_of_a_connection_is_judged(place: Place) -> None:
    origin = place.origin(True)
    target = f"news.test:{origin.port}"
    with (
        sockets.connect(place.arcus.port("explicit"), target) as tunnel,
        sockets.tls(tunnel, "news.test", place.arcus.ca()) as sock,
    ):
        for path, status in (("/one", 200), ("/secret", 403)):
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            assert sockets.read_response(sock)[0] == status
    assert [seen.path for seen in origin.requests] == ["/one"]


@pytest.mark.security
@pytest.mark.parametrize(
    ("connect", "sni", "host"),
    [
        ("free.test", "free.test", "games.test"),
        ("free.test", "games.test", "free.test"),
        ("games.test", "free.test", "free.test"),
        ("127.0.0.1", "games.test", "games.test"),
        ("127.0.0.1", "free.test", "games.test"),
        ("127.0.0.1", "games.test", "free.test"),
    ],
)
def test_pol_04_a_fronted_name_gains_nothing(place: Place, connect: str, sni: str, host: str) -> None:
    """Of CONNECT target, SNI and Host, any one that is blocked blocks."""
    origin = place.origin(True)
    got = b""
    with sockets.connect(place.arcus.port("explicit"), f"{connect}:{origin.port}") as tunnel:
        try:
            with sockets.tls(tunnel, sni, place.arcus.ca()) as sock:
                sock.sendall(f"GET /fronted HTTP/1.1\r\nHost: {host}:{origin.port}\r\nConnection: close\r\n\r\n".encode())
                got = sockets.read_all(sock)
        except OSError:
            got = b""
    assert not got.startswith(b"HTTP/1.1 200")
    assert not origin.requests


@pytest.mark.security
def test_pol_04_block_page_is_safe_to_show(place: Place) -> None:
    """What the client wrote comes back escaped, and a made-up Accept does not choose an unsafe type."""
    got = place.ask("games.test", "/<script>alert(1)</script>", "--path-as-is", "--globoff", *BROWSER)
    assert b"<script" not in got.body
    assert got.headers["x-content-type-options"] == "nosniff"


def test_pol_04_explain_tells_the_same(place: Place) -> None:
    config = place.arcus.state.parent / "arcus.yaml"
    for host, word in (("www.games.test", "no-games"), ("free.test", "allow")):
        command = [
            sys.executable,
            "-m",
            "appliance.cli",
            "explain",
            "-c",
            str(config),
            f"https://{host}/",
            "--client",
            "127.0.0.1",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
        assert word in done.stdout, done.stderr


def test_pol_07_credentials_may_be_offered_before_being_asked_for(place: Place) -> None:
    word = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    got = place.ask("login.test", "/eager", "-H", f"Proxy-Authorization: Basic {word}")
    assert got.status == 200
    assert place.plain.requests[-1].values("proxy-authorization") == []
