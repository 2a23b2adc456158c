"""Our ICAP server's services in a worker: which URIs lead there."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from appliance.app.own_server import OwnServer, own_server
from appliance.app.scanners import Scanners
from appliance.config.icap_server import IcapServer
from appliance.config.root import AppConfig
from appliance.domain.ids import TenantId
from appliance.domain.verdict import Outcome
from icap.client import Tuning
from icap.inside import Inside
from tests.e2e.running import base_config
from tests.icap.client.messages import download
from tests.icap.server.serving import WholeBodyScanner
from tests.servers import EICAR, clamd

CLAMD = {"type": "clamd", "tcp": "127.0.0.1:3310"}


def server(address: str = "127.0.0.1:1344", **more: Any) -> IcapServer:
    return IcapServer.model_validate({"listen": {"address": address}, "in_workers": True, "scanner": CLAMD} | more)


@pytest.mark.parametrize(
    ("listen", "uri", "inside"),
    [
        ("127.0.0.1:1344", "icap://127.0.0.1:1344/respmod", True),
        ("127.0.0.1:1344", "icap://127.0.0.1/respmod?x=y", True),
        ("[::1]:1344", "icap://[::1]:1344/respmod", True),
        ("0.0.0.0:1344", "icap://127.0.0.1:1344/respmod", True),
        ("[::]:1344", "icap://localhost:1344/respmod", True),
        ("127.0.0.1:1344", "icap+unix:///run/icap.sock:/respmod", True),
        ("127.0.0.1:1344", "icap+unix:///run/other.sock:/respmod", False),
        ("127.0.0.1:1344", "icap://127.0.0.1:1345/respmod", False),
        ("127.0.0.1:1344", "icap://127.0.0.2:1344/respmod", False),
        ("127.0.0.1:1344", "icaps://127.0.0.1:1344/respmod", False),
        ("0.0.0.0:1344", "icap://192.0.2.1:1344/respmod", False),
        ("0.0.0.0:1344", "icap://127.0.0.1:1345/respmod", False),
    ],
)
def test_icp_12_a_uri_of_our_own_leads_inside(listen: str, uri: str, inside: bool) -> None:
    own = OwnServer(server(listen, unix={"path": "/run/icap.sock"}), WholeBodyScanner())
    assert isinstance(own.way(uri, 1, Tuning()), Inside) is inside


async def test_a_scanner_that_nobody_asks_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Told(WholeBodyScanner):
        async def start(self) -> None:
            told.append("start")

        async def close(self) -> None:
            told.append("close")

    for uri, expected in (("icap://192.0.2.1/respmod", []), ("icap://127.0.0.1:1344/respmod", ["start", "close"])):
        own = OwnServer(server(), Told())
        own.way(uri, 1, Tuning())
        await own.start()
        await own.close()
        assert told == expected


@pytest.mark.parametrize("kind", ["types", "yara"])
def test_icp_13_what_takes_bodies_apart_stays_out_of_workers(kind: str) -> None:
    more = {"types": {"rules": [{"name": "no", "action": "block", "types": ["pe"]}]}, "yara": {"directory": "/y"}}
    scanners = [CLAMD, {"type": kind} | more[kind]]
    with pytest.raises(ValidationError, match=f"in_workers is for scanners of the types clamd and hashes: {kind} takes bodies"):
        server(scanner=None, scanners=scanners)
    assert not server(scanner=None, scanners=scanners, in_workers=False).in_workers


def test_icp_13_clamd_and_hash_lists_may_be_asked_by_workers(tmp_path: Path) -> None:
    scanners = [CLAMD, {"type": "hashes", "files": [str(tmp_path / "list")]}]
    assert server(scanner=None, scanners=scanners).in_workers


def test_nothing_is_made_where_the_server_is_asked_over_icap() -> None:
    assert own_server(_config({"listen": {"address": "127.0.0.1:1344"}, "scanner": CLAMD})) is None


@pytest.mark.integration
async def test_icp_12_a_worker_scans_by_itself_what_goes_to_our_own_server(tmp_path: Path) -> None:
    """Nobody listens at the address."""
    with clamd() as daemon:
        own = {
            "listen": {"address": "127.0.0.1:9"},
            "in_workers": True,
            "scanner": {"type": "clamd", "socket": str(daemon.socket)},
        }
        config = _config(own, icap_respmod_service="icap://127.0.0.1:9/respmod")
        scanners = Scanners(config, {}, lambda _: None)
        await scanners.start()
        [asked] = scanners.by_tenant[TenantId("default")].services.values()
        found = [(await asked.adapt(download(body))).verdict.outcome for body in (EICAR, os.urandom(2000), b"")]
        await scanners.close()
    assert found == [Outcome.BLOCKED, Outcome.CLEAN, Outcome.CLEAN]


def _config(own: dict[str, Any], **auditor: Any) -> AppConfig:
    made = base_config(Path("/nowhere"), auditor=[{"name": "inspect", **auditor}], icap_server=own)
    return TypeAdapter(AppConfig).validate_python(made)
