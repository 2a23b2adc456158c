"""WebSocket through the appliance: passed, counted, judged by the same rules, never held open for ever."""

import concurrent.futures
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e import origins, sockets, websocket
from tests.e2e.running import Running, base_config, running
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-websocket")]


@dataclass
class Place:
    arcus: Running
    secure: origins.Origin
    plain: origins.Origin

    def open(self, host: str = "origin.test", path: str = "/ws", *, secure: bool = True) -> websocket.Client:
        origin = self.secure if secure else self.plain
        tunnel = sockets.connect(self.arcus.port("explicit"), f"{host}:{origin.port}")
        sock = sockets.tls(tunnel, host, self.arcus.ca()) if secure else tunnel
        return websocket.Client(sock, f"{host}:{origin.port}", path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("websocket")
    trusted = origins.authority(directory)
    hosts = {host: ["127.0.0.1"] for host in ("origin.test", "blocked.test")}
    policies = [
        {"name": "no-sockets", "config": {"hosts": {"exact": ["blocked.test"]}}},
        {"name": "not-there", "config": {"path_regex": ["^/private"]}},
    ]
    config = base_config(
        directory / "state",
        auditor=[origins.trusting(trusted)],
        resolver=[{"name": "local", "type": "system", "hosts": hosts}],
        tenant=[{"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct", "policies": policies}],
        server=[
            {
                "name": "explicit", "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"},
                "timeouts": {"tunnel_idle": "3s", "body_idle": "1s", "client_idle": "1s"},
            }
        ],
    )  # fmt: skip
    with (
        origins.origin(context=trusted.context("origin.test", "blocked.test"), hook=websocket.echo) as secure,
        origins.origin(hook=websocket.echo) as plain,
        running(config, directory) as arcus,
    ):
        yield Place(arcus, secure, plain)


@pytest.mark.parametrize("secure", [False, True])
def test_srv_22_messages_pass_unchanged_and_are_counted(place: Place, secure: bool) -> None:
    path = f"/echo-{secure}"
    client = place.open(path=path, secure=secure)
    assert client.status == 101
    messages: list[str | bytes] = ["hello", "grüße ☃", b"\x00\xff" * 100, secrets.token_bytes(200_000), "", b""]
    for message in messages:
        assert client.ask(message) == message
    client.close()
    client.sock.close()
    origin = place.secure if secure else place.plain
    event = place.arcus.event(kind="websocket", url=f"{origin.url}{path}")
    assert event["websocket_frames"] == [len(messages), len(messages)]
    assert (event["status"], event["reason"], event["method"]) == (101, "ok", "GET")
    assert "websocket" in event["not_scanned"]


def test_srv_22_upgrade_is_judged_by_the_rules(place: Place) -> None:
    place.secure.clear()
    for host, path, rule in (("blocked.test", "/ws", "no-sockets"), ("origin.test", "/private/ws", "not-there")):
        client = place.open(host, path)
        client.sock.close()
        assert client.status == 403
        event = place.arcus.event(url=f"https://{host}:{place.secure.port}{path}")
        assert (event["rule"], event["reason"]) == (rule, "policy_blocked")


def test_srv_22_a_server_that_refuses_the_upgrade(place: Place) -> None:
    with (
        origins.origin(lambda _: origins.answer(b"no", "426 Upgrade Required")) as refusing,
        sockets.connect(place.arcus.port("explicit"), f"origin.test:{refusing.port}") as sock,
    ):
        assert websocket.Client(sock, f"origin.test:{refusing.port}").status == 426
    assert place.arcus.event(url=f"http://origin.test:{refusing.port}/ws")["status"] == 426


def test_srv_22_quiet_longer_than_a_body_may_be_then_cut(place: Place) -> None:
    """Its own idle limit of three seconds holds, not the one second of bodies and connections."""
    client = place.open(path="/quiet")
    time.sleep(2.0)
    assert client.ask("still there") == "still there"
    with client.sock:
        sockets.read_all(client.sock, 15)
    event = place.arcus.event(kind="websocket", url=f"{place.secure.url}/quiet")
    assert event["reason"] in ("idle_timeout", "upstream_timeout", "upstream_closed")


def test_srv_22_a_client_that_vanishes_leaves_a_record(place: Place) -> None:
    client = place.open(path="/vanished")
    assert client.ask("x") == "x"
    client.sock.close()
    assert place.arcus.event(kind="websocket", url=f"{place.secure.url}/vanished")["websocket_frames"] == [1, 1]


def test_srv_22_many_at_the_same_time(place: Place) -> None:
    def talk(number: int) -> bool:
        client = place.open(path=f"/many-{number}")
        good = all(client.ask(f"{number}-{turn}") == f"{number}-{turn}" for turn in range(20))
        client.close()
        client.sock.close()
        return good

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        assert all(pool.map(talk, range(20)))


@pytest.mark.security
@pytest.mark.parametrize("answer", ["HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\nsecret"])
def test_srv_22_no_other_protocol_is_switched_to(place: Place, answer: str) -> None:
    """A 101 that nobody asked for would open a pipe that nobody reads."""
    with (
        origins.origin(lambda _: answer.encode()) as lying,
        sockets.connect(place.arcus.port("explicit"), f"origin.test:{lying.port}") as sock,
    ):
        head = f"GET /switch HTTP/1.1\r\nHost: origin.test:{lying.port}\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"
        sock.sendall(head.encode())
        got = sockets.read_all(sock)
    assert got.startswith(b"HTTP/1.1 502")
    assert b"secret" not in got
    assert lying.requests[0].values("upgrade") == []
