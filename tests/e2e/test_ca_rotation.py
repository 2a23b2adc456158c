"""A CA is replaced under clients that trust the old one, both, or only the old one and are asked about the new; C21, D8."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from appliance.portal.pages import PROBE
from tests.e2e.running import ROOT, Running, base_config, running, wait_until
from tests.e2e.webserver import WebServer, webserver

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.xdist_group("e2e-rotation")]

BOTH, OLD_ONLY, ASKED = "127.0.0.2", "127.0.0.3", "127.0.0.4"
"""Clients by their address: one trusts both CAs, one was never asked, one was asked and refused."""


@dataclass
class Place:
    """A state directory in which a rotation is under way, before anything runs."""

    folder: Path
    config: dict[str, Any]

    def arcus(self, *words: str) -> Any:
        command = [sys.executable, "-m", "appliance.cli", "ca", *words, "-c", str(self.folder / "arcus.yaml"), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    def ca(self, generation: str) -> Path:
        return self.folder / "state" / "ca" / {"current": "default"}.get(generation, f".default.{generation}") / "ca.pem"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with webserver(tmp_path_factory.mktemp("web"), names=("origin.test",)) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, web: WebServer) -> Place:
    folder = tmp_path
    auditor = {"name": "inspect", "tls_interception": {"upstream_trust": {"ca_files": [str(web.ca_file)]}}}
    resolver = {"name": "local", "type": "system", "hosts": {"origin.test": ["127.0.0.1"]}}
    config = base_config(folder / "state", auditor=[auditor], resolver=[resolver], ca=[{"name": "default", "next_share": 100}])
    with (folder / "arcus.yaml").open("w") as file:
        YAML().dump(config, file)
    made = Place(folder, config)
    assert isinstance(made.arcus("init"), list)
    assert set(made.arcus("rotate", "--tenant", "default")["generations"]) == {"current", "next"}
    return made


def get(arcus: Running, client: str, url: str, trusted: Path) -> int:
    """curl's exit status from this address: 60 when it does not believe the certificate."""
    return arcus.curl(url, "--interface", client, "--cacert", trusted, check=False).code


def readiness(place: Place) -> dict[str, str]:
    told = place.arcus("readiness", "--tenant", "default")
    return {each["ip"]: each["state"] for each in told["details"]}


def test_every_client_is_served_by_the_ca_it_trusts_and_the_switch_waits_for_all(place: Place, web: WebServer) -> None:
    url, probe = f"https://origin.test:{web.tls_port}/", f"https://next.arcus.internal{PROBE}"
    old, new = place.ca("current"), place.ca("next")
    with running(place.config, place.folder) as arcus:
        for client in (BOTH, OLD_ONLY, ASKED):
            assert get(arcus, client, url, old) == 0
        assert arcus.curl("http://arcus.internal/arcus-ca-2.pem").body == new.read_bytes()
        assert get(arcus, BOTH, probe, new) == 0
        assert get(arcus, ASKED, probe, old) == 60
        wait_until(lambda: readiness(place) == {BOTH: "ready", OLD_ONLY: "unseen", ASKED: "refused"})
        # the client that has accepted the next CA is served by it, on the word of its records
        wait_until(lambda: get(arcus, BOTH, url, new) == 0, what="the ready client is served by the next CA")
        for client in (OLD_ONLY, ASKED):
            assert get(arcus, client, url, old) == 0
        assert "2 of 3 clients have not accepted the next CA" in place.arcus("switch", "--tenant", "default")
        # whoever refuses it on real traffic is served by the current one again
        assert get(arcus, BOTH, url, old) == 60
        wait_until(lambda: get(arcus, BOTH, url, old) == 0, what="the client that refused goes back")
    assert set(place.arcus("switch", "--tenant", "default", "--anyway")["generations"]) == {"current", "previous"}
    with running(place.config, place.folder) as arcus:
        assert get(arcus, BOTH, url, place.ca("current")) == 0
        assert get(arcus, OLD_ONLY, url, place.ca("previous")) == 60
    assert set(place.arcus("rollback", "--tenant", "default")["generations"]) == {"current", "next"}
    with running(place.config, place.folder) as arcus:
        assert get(arcus, OLD_ONLY, url, place.ca("current")) == 0
