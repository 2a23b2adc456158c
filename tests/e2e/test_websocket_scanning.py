"""WebSocket messages through the whole appliance and a real scanner: each is judged before it goes on (C7)."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import origins, sockets, websocket
from tests.e2e.running import Running, base_config, running, wait_until
from tests.ports import free_port
from tests.servers import EICAR, clamd

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

SOURCES = {"block": "127.0.0.2", "pass": "127.0.0.3", "away": "127.0.0.4", "awaypass": "127.0.0.5"}
VIRUS = EICAR.decode()


@dataclass
class Place:
    arcus: Running
    origin: origins.Origin
    talker: websocket.Talker

    @contextlib.contextmanager
    def open(self, tenant: str, path: str, *, deflate: bool = False) -> Iterator[websocket.Client]:
        host = f"origin.test:{self.origin.port}"
        tunnel = sockets.connect(self.arcus.port("explicit"), host, source=SOURCES[tenant])
        with sockets.tls(tunnel, "origin.test", self.arcus.ca()) as sock:
            client = websocket.Client(sock, host, path, deflate=deflate)
            assert client.status == 101
            yield client

    def event(self, path: str) -> dict[str, object]:
        return self.arcus.event(kind="websocket", url=f"{self.origin.url}{path}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("websocket-scan")
    trusted, talker = origins.authority(directory), websocket.Talker()
    context = trusted.context("origin.test")
    with contextlib.ExitStack() as stack:
        scanner = stack.enter_context(clamd())
        origin = stack.enter_context(origins.origin(context=context, hook=talker))
        config = _config(directory / "state", origins.trusting(trusted), scanner.port)
        yield Place(stack.enter_context(running(config, directory)), origin, talker)


def _config(state: Path, trusting: dict[str, object], scanner: int) -> dict[str, object]:
    icap, nobody = free_port(), free_port()
    base = trusting | {"websocket": "scan", "max_message_size": "100K"}
    services = {f"icap_{each}_service": f"icap://127.0.0.1:{icap}/{each}" for each in ("reqmod", "respmod")}
    gone = {f"icap_{each}_service": f"icap://127.0.0.1:{nobody}/{each}" for each in ("reqmod", "respmod")}
    auditors = [
        base | services | {"name": "block"},
        base | services | {"name": "pass", "oversize": "bypass"},
        base | gone | {"name": "away"},
        base | gone | {"name": "awaypass", "icap_on_error": "bypass"},
    ]
    default = {"tenant_id": "default", "ca": "default", "auditor": "block", "escaper": "direct"}
    tenants = [default | {"tenant_id": n, "auditor": n, "match": {"networks": [f"{ip}/32"]}} for n, ip in SOURCES.items()]
    return base_config(
        state,
        auditor=auditors,
        tenant=[default, *tenants],
        verdict_cache={"enabled": False},
        quarantine={"tenants": ["block"]},
        resolver=[{"name": "local", "type": "system", "hosts": {"origin.test": ["127.0.0.1"]}}],
        icap_server={"listen": {"address": f"127.0.0.1:{icap}"}, "scanner": {"type": "clamd", "tcp": f"127.0.0.1:{scanner}"}},
    )


@pytest.mark.parametrize("deflate", [False, True])
def test_c7_clean_messages_pass_in_order_in_both_directions(place: Place, deflate: bool) -> None:
    path = f"/clean-{deflate}"
    messages = ["hello", "grüße ☃" * 100, "x" * 50_000, "hello"]
    with place.open("block", path, deflate=deflate) as client:
        assert [client.ask(each) for each in messages] == messages
        client.close()
    event = place.event(path)
    assert (event["reason"], event["websocket_frames"], event.get("not_scanned")) == ("ok", [4, 4], None)
    assert {each["method"]: each["outcome"] for each in event["scans"]} == {"REQMOD": "clean", "RESPMOD": "clean"}  # type: ignore[attr-defined]
    total = sum(len(each.encode()) for each in messages)
    for size in event["scanned_bytes"].values():  # type: ignore[attr-defined]
        assert (size < total / 10) if deflate else (total < size < total + 100)


@pytest.mark.security
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("sent", [VIRUS, "infect"], ids=["up", "down"])
def test_c7_an_infected_message_ends_both_sides(place: Place, deflate: bool, sent: str) -> None:
    """Either direction."""
    place.talker.got.clear()
    place.talker.codes.clear()
    path = f"/infected-{deflate}-{len(sent)}"
    with place.open("block", path, deflate=deflate) as client:
        assert client.ask("before") == "before"
        assert client.ask(sent) is None
        assert client.code == 1008
    event = place.event(path)
    assert (event["reason"], event["blocked"]) == ("malware_found", True)
    assert event["scans"][-1]["outcome"] == "blocked"  # type: ignore[index]
    wait_until(lambda: _kept(place, str(event["quarantine"])), what="the message is in quarantine")
    assert place.talker.codes == [1008]
    assert VIRUS not in place.talker.got


def _kept(place: Place, item_id: str) -> bool:
    listed = json.loads(place.arcus.arcus("quarantine", "list", "--tenant", "block", "--json").stdout)
    return any((each["id"], each["size"]) == (item_id, len(VIRUS)) for each in listed)


def test_c7_a_message_that_is_too_large(place: Place) -> None:
    for deflate in (False, True):
        with place.open("block", f"/large-block-{deflate}", deflate=deflate) as client:
            assert client.ask("big") is None
            assert client.code == 1009
        assert place.event(f"/large-block-{deflate}")["reason"] == "body_too_large"
        with place.open("pass", f"/large-pass-{deflate}", deflate=deflate) as client:
            assert client.ask("big") == "large " * 60_000
            assert client.ask("x" * 200_000) == "x" * 200_000
            assert client.ask("large after that") == "large after that"
            client.close()
        event = place.event(f"/large-pass-{deflate}")
        assert (event["reason"], event["not_scanned"]) == ("ok", ["response: too_large", "request: too_large"])
        assert deflate or event["unscanned_bytes"]["response: too_large"] > 560_000  # type: ignore[index]


@pytest.mark.security
def test_c7_a_scanner_that_is_away_under_block(place: Place) -> None:
    """The upgrade itself has no body, but a request that cannot be judged goes no further."""
    host = f"origin.test:{place.origin.port}"
    tunnel = sockets.connect(place.arcus.port("explicit"), host, source=SOURCES["away"])
    with sockets.tls(tunnel, "origin.test", place.arcus.ca()) as sock:
        assert websocket.Client(sock, host, "/away").status == 503


def test_c7_a_scanner_that_is_away_under_bypass(place: Place) -> None:
    with place.open("awaypass", "/awaypass") as client:
        assert client.ask("hello") == "hello"
        client.close()
    event = place.event("/awaypass")
    assert event["reason"] == "ok"
    assert event["not_scanned"] == ["request: scan_failed", "response: scan_failed"]
    assert event["unscanned_bytes"] == {"request: scan_failed": 11, "response: scan_failed": 7}
