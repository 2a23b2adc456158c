"""Each phase of a connection at its limit, with a clock that stands still until it is moved."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from mitmproxy.connection import Client
from mitmproxy.http import HTTPFlow

from appliance.config.server import Timeouts
from appliance.domain.reason import Reason
from appliance.engine.phases import Phases

TIMES = Timeouts(
    handshake=10, header=20, client_idle=30, body_idle=40, min_body_rate=100, tunnel_idle=50, response=60
)  # fmt: skip


class Ending:
    def __init__(self) -> None:
        self.aborted: list[Reason] = []
        self.dropped: list[Reason] = []

    def abort(self, reason: Reason, detail: str = "") -> None:
        self.aborted.append(reason)

    def drop_servers(self, reason: Reason) -> None:
        self.dropped.append(reason)


class Scene:
    """One connection; ``after`` moves the clock and checks."""

    def __init__(self, *, tls: bool = False) -> None:
        self.now = 1000.0
        loop = SimpleNamespace(time=lambda: self.now)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "get_running_loop", lambda: loop)
            self.phases = Phases(TIMES, tls=tls)
        self.ending = Ending()
        self.flow = HTTPFlow(Client(peername=("192.0.2.1", 1), sockname=("127.0.0.1", 2)), None)  # type: ignore[arg-type]

    def after(self, seconds: float) -> Ending:
        self.now += seconds
        self.phases.check(self.now, self.ending)
        return self.ending

    def hook(self, name: str) -> None:
        self.phases.before_hook(name, (self.flow,))
        self.phases.after_hook(name, (self.flow,))

    def client_sends(self, size: int = 1) -> None:
        self.phases.activity(True, size)
        self.phases.after_client_data()

    def request_complete(self) -> None:
        self.hook("requestheaders")
        self.hook("request")


@pytest.fixture
def scene() -> Iterator[Scene]:
    return Scene()


def test_handshake_at_the_limit_and_bytes_do_not_extend_it() -> None:
    scene = Scene(tls=True)
    scene.after(9)
    scene.client_sends()
    assert scene.after(1).aborted == []
    assert scene.after(0.1).aborted == [Reason.HANDSHAKE_TIMEOUT]


def test_a_finished_handshake_begins_the_idle_time() -> None:
    scene = Scene(tls=True)
    scene.now += 10
    scene.phases.before_hook("tls_established_client", (SimpleNamespace(conn=SimpleNamespace(alpn=b"http/1.1")),))
    assert scene.after(30).aborted == []
    assert scene.after(0.1).aborted == [Reason.IDLE_TIMEOUT]


def test_header_counts_from_its_first_byte(scene: Scene) -> None:
    scene.now += 29
    for _ in range(20):
        scene.client_sends()
        assert scene.after(1).aborted == []
    assert scene.after(0.1).aborted == [Reason.HEADER_TIMEOUT]


def test_http2_frames_between_requests_begin_no_header() -> None:
    scene = Scene(tls=True)
    scene.phases.before_hook("tls_established_client", (SimpleNamespace(conn=SimpleNamespace(alpn=b"h2")),))
    scene.client_sends()
    assert scene.phases.between_requests
    assert scene.after(21).aborted == []


def test_idle_connection_at_the_limit(scene: Scene) -> None:
    assert scene.after(30).aborted == []
    assert scene.after(0.1).aborted == [Reason.IDLE_TIMEOUT]


def test_idle_begins_anew_after_each_exchange(scene: Scene) -> None:
    scene.now += 29
    scene.request_complete()
    scene.hook("responseheaders")
    scene.hook("response")
    assert scene.phases.live == {}
    assert scene.after(30).aborted == []
    assert scene.after(0.1).aborted == [Reason.IDLE_TIMEOUT]


def test_a_body_that_stalls(scene: Scene) -> None:
    scene.hook("requestheaders")
    scene.client_sends(1_000_000)
    assert scene.after(40).aborted == []
    scene.phases.activity(True, 4_000)
    assert scene.after(40).aborted == []
    assert scene.after(0.1).aborted == [Reason.BODY_TIMEOUT]


@pytest.mark.security
@pytest.mark.parametrize(("size", "ends"), [(999, True), (1000, False)])
def test_a_body_that_drips_must_keep_the_minimum_rate(scene: Scene, size: int, ends: bool) -> None:
    scene.hook("requestheaders")
    for _ in range(4):
        scene.phases.activity(True, size)
        scene.after(10)
    assert scene.ending.aborted == ([Reason.BODY_TIMEOUT] if ends else [])


def test_the_server_does_not_answer(scene: Scene) -> None:
    scene.request_complete()
    assert scene.after(60).dropped == []
    assert scene.after(0.1).dropped == [Reason.UPSTREAM_TIMEOUT]
    assert scene.ending.aborted == []


def test_a_response_that_stalls_drops_the_server(scene: Scene) -> None:
    scene.request_complete()
    scene.hook("responseheaders")
    scene.phases.activity(False, 10)
    assert scene.after(40).dropped == []
    assert scene.after(0.1).dropped == [Reason.UPSTREAM_TIMEOUT]


def test_a_hook_that_waits_stops_the_clock_of_bodies_and_answers(scene: Scene) -> None:
    scene.request_complete()
    scene.phases.hooks_running = 1
    assert scene.after(10_000).dropped == []
    scene.phases.hooks_running = 0
    assert scene.after(0).dropped == [Reason.UPSTREAM_TIMEOUT]


def test_a_websocket_has_the_time_of_a_tunnel(scene: Scene) -> None:
    scene.request_complete()
    scene.hook("responseheaders")
    scene.flow.websocket = object()  # type: ignore[assignment]
    scene.hook("response")
    assert scene.phases.live
    assert scene.after(50).dropped == []
    assert scene.after(0.1).dropped == [Reason.UPSTREAM_TIMEOUT]
    scene.hook("websocket_end")
    assert scene.phases.live == {}


def test_a_failed_flow_is_over(scene: Scene) -> None:
    scene.hook("requestheaders")
    scene.hook("error")
    assert scene.after(30).aborted == []
    assert scene.phases.between_requests
