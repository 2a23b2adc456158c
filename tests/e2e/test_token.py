"""A CA whose key is in a token, in a running appliance (C21)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import ROOT, Running, base_config, running
from tests.e2e.webserver import WebServer, webserver
from tests.security.memory import held
from tests.softhsm import MODULE, PIN, SoftHsm

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.integration,
    pytest.mark.xdist_group("e2e-token"),
    pytest.mark.skipif(not MODULE.exists(), reason="SoftHSM is not installed"),
]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with webserver(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    made = SoftHsm(tmp_path_factory.mktemp("hsm")).create()
    made.key("ca")
    made.key("ca-rsa", "rsa-2048")
    return made


def config(state: Path, web: WebServer, hsm: SoftHsm, **node: Any) -> dict[str, Any]:
    trusting = {"name": "inspect", "tls_interception": {"upstream_trust": {"ca_files": [str(web.ca_file)]}}}
    cas = [{"name": "default", "pkcs11": hsm.node("ca") | node}, {"name": "second", "pkcs11": hsm.node("ca-rsa")}]
    tenants = [
        {"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct"},
        {"tenant_id": "b", "ca": "second", "auditor": "inspect", "escaper": "direct", "match": {"networks": ["127.0.5.0/24"]}},
    ]
    return base_config(state, workers=2, ca=cas, tenant=tenants, auditor=[trusting], log={"level": "debug"})


def maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to look into processes")
def test_c21_the_signer_alone_opens_the_token(tmp_path: Path, web: WebServer, hsm: SoftHsm) -> None:
    with running(config(tmp_path / "state", web, hsm), tmp_path) as arcus:
        for ca, source in (("default", "127.0.0.1"), ("second", "127.0.5.1")):
            for _ in range(4):
                answer = arcus.curl("--cacert", arcus.ca(ca), "--interface", source, f"{web.tls_url}/hello")
                assert (answer.status, answer.error) == (200, "")
            assert [path.name for path in arcus.ca(ca).parent.iterdir()] == ["ca.pem"]
        (signer,) = arcus.child_pids("signer")
        others = [arcus.process.pid, *arcus.child_pids("worker"), *arcus.child_pids("admin")]
        assert "libsofthsm" in maps(signer)
        assert not [pid for pid in others if "libsofthsm" in maps(pid)]
        assert not [pid for pid in others if held(pid, {"pin": PIN.encode()})]
        assert PIN not in (tmp_path / "arcus.log").read_text()
        check_restart(arcus, web)


def check_restart(arcus: Running, web: WebServer) -> None:
    """The signer opens it again after its death."""
    (before,) = arcus.child_pids("signer")
    os.kill(before, 9)
    assert arcus.curl("--cacert", arcus.ca(), f"{web.tls_url.replace('origin.test', '127.0.0.1')}/hello").status == 200


@pytest.mark.parametrize(
    ("node", "message"),
    [({"token": "other"}, "no token is labelled 'other'"), ({"label": "none"}, "no private key labelled 'none'")],
)
def test_c21_what_is_wrong_with_the_token_ends_the_start(
    node: dict[str, str], message: str, tmp_path: Path, web: WebServer, hsm: SoftHsm
) -> None:
    with pytest.raises(AssertionError, match=message), running(config(tmp_path / "state", web, hsm, **node), tmp_path):
        raise RuntimeError("it started")


@pytest.mark.security
def test_c21_a_wrong_pin_ends_the_start_and_is_not_told(tmp_path: Path, web: WebServer, hsm: SoftHsm) -> None:
    pin = tmp_path / "pin"
    pin.touch(0o600)
    pin.write_text("0000-wr0ng-pin")
    settings = config(tmp_path / "state", web, hsm, pin_file=str(pin))
    with pytest.raises(AssertionError, match="does not accept the PIN") as error, running(settings, tmp_path):
        raise RuntimeError("it started")
    assert "wr0ng" not in str(error.value)


def command(folder: Path, *words: str) -> dict[str, Any]:
    """What `arcus ca` said. A process of its own, for it opens the token."""
    line = [sys.executable, "-m", "appliance.cli", "ca", *words, "-c", str(folder / "arcus.yaml"), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_c21_a_ca_in_a_token_is_replaced_by_another_key_of_it(tmp_path: Path, web: WebServer, hsm: SoftHsm) -> None:
    hsm.key("ca-next")
    state, url = tmp_path / "state", f"{web.tls_url}/hello"
    settings = config(state, web, hsm)

    def trusts(arcus: Running, ca: Path) -> bool:
        return arcus.curl("--cacert", ca, url, check=False).code == 0

    with running(settings, tmp_path) as arcus:
        old = tmp_path / "old.pem"
        old.write_bytes(arcus.ca().read_bytes())
        assert trusts(arcus, old)
    made = command(tmp_path, "rotate", "--tenant", "default", "--label", "ca-next")["generations"]
    assert made["current"]["sha256"] != made["next"]["sha256"]
    new = tmp_path / "new.pem"
    new.write_bytes((state / "ca" / ".default.next" / "ca.pem").read_bytes())
    with running(settings, tmp_path) as arcus:
        assert (trusts(arcus, old), trusts(arcus, new)) == (True, False), "the current one signs"
        assert arcus.curl("http://arcus.internal/arcus-ca-2.pem").body == new.read_bytes(), "and the next is offered"
    command(tmp_path, "switch", "--tenant", "default", "--anyway")
    for label in ("ca", "ca-next"):  # whatever the configuration still says
        with running(config(state, web, hsm, label=label), tmp_path) as arcus:
            assert (trusts(arcus, old), trusts(arcus, new)) == (False, True)
    command(tmp_path, "rollback", "--tenant", "default")
    with running(settings, tmp_path) as arcus:
        assert (trusts(arcus, old), trusts(arcus, new)) == (True, False)
    assert not list((state / "ca").rglob("ca.key"))
