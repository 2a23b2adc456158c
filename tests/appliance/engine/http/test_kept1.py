"""TLS-12: the first exchange on a connection that was left idle (RFC 9112 section 9.3.1)."""

import pytest
from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http import HTTPMode

import appliance.engine.tunnel  # noqa: F401 - whatever layer it uses is known then
from appliance.domain.reason import Reason
from appliance.engine.http.kept1 import is_kept, is_repeatable
from appliance.engine.task_http import TaskHttpLayer
from tests.engine_driver import Driver

GET = b"GET /x HTTP/1.1\r\nHost: example.com\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1\r\n\r\nx"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


LAYERS = (TaskHttpLayer, *TaskHttpLayer.__subclasses__())
"""Also what goes a shorter way with the frequent case: nothing of this may be lost there."""


class Kept(Driver):
    """The eager connection is one that was left idle; ``told`` counts the requests that were made again."""

    layer_type = TaskHttpLayer

    def __init__(self) -> None:
        self.told = 0
        super().__init__(HTTPMode.transparent, tls=True)
        self.context.server.arcus_kept = self._tell

    def _tell(self) -> None:
        self.told += 1

    def _open(self, command: object) -> None:
        command.connection.timestamp_tls_setup = 1.0  # type: ignore[attr-defined]
        super()._open(command)  # type: ignore[arg-type]


@pytest.fixture(autouse=True, params=LAYERS, ids=lambda layer: layer.__name__)
def each_layer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kept, "layer_type", request.param)


@pytest.fixture(autouse=True)
def without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that HTTP opens by itself speak in the clear here."""
    from mitmproxy.proxy.layer import Layer

    from appliance.engine.http import layer

    class Nothing(Layer):
        def __init__(self, context: object) -> None:
            super().__init__(context)  # type: ignore[arg-type]
            self.child_layer: Layer | None = None

        def _handle_event(self, event: events.Event) -> object:  # type: ignore[override]
            assert self.child_layer is not None
            return self.child_layer.handle_event(event)

    monkeypatch.setattr(layer, "ServerTls", Nothing)


def test_tls_12_a_get_goes_out_on_it_and_later_requests_too() -> None:
    driver = Kept().feed(GET)
    driver.upstreams[0].send(ANSWER)
    assert driver.take().endswith(b"ok")
    assert not is_kept(driver.context.server)
    driver.feed(POST)
    driver.upstreams[0].send(ANSWER)
    assert len(driver.upstreams) == 1


@pytest.mark.parametrize("head", [b"POST", b"PUT", b"DELETE", b"PATCH", b"PROPFIND"])
def test_tls_12_what_cannot_be_repeated_has_a_connection_made_for_it(head: bytes) -> None:
    driver = Kept().feed(GET.replace(b"GET", head))
    assert bytes(driver.upstreams[0].received) == b""
    assert driver.upstreams[1].received.startswith(head)
    driver.upstreams[1].send(ANSWER)
    assert driver.take().endswith(b"ok")
    assert is_kept(driver.context.server)


def test_tls_12_closed_unanswered_is_asked_once_more_elsewhere() -> None:
    driver = Kept().feed(GET)
    driver.upstreams[0].close()
    assert driver.take() == b""
    assert driver.upstreams[1].received == driver.upstreams[0].received
    driver.upstreams[1].send(ANSWER)
    assert driver.take().endswith(b"ok")
    assert (driver.told, driver.observer.reasons) == (1, [])
    assert [name for name, _ in driver.seen] == ["requestheaders", "request", "responseheaders", "response"]


def test_tls_12_the_second_connection_has_no_third() -> None:
    driver = Kept().feed(GET)
    driver.upstreams[0].close()
    driver.upstreams[1].close()
    assert len(driver.upstreams) == 2
    assert driver.take().startswith(b"HTTP/1.1 502")
    assert driver.observer.reasons == [Reason.UPSTREAM_CLOSED]


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n", ANSWER[:-1]])
def test_tls_12_a_server_that_has_said_an_octet_is_not_asked_again(said: bytes) -> None:
    driver = Kept().feed(GET)
    driver.upstreams[0].send(said)
    driver.upstreams[0].close()
    assert len(driver.upstreams) == 1
    assert driver.told == 0


def test_tls_12_what_we_have_closed_ourselves_is_not_tried_again() -> None:
    """A server that did not answer in time: its connection is closed from this side."""
    driver = Kept().feed(GET)
    driver.upstreams[0].connection.state = ConnectionState.CLOSED
    driver.run(events.ConnectionClosed(driver.upstreams[0].connection))
    assert len(driver.upstreams) == 1
    assert driver.take().startswith(b"HTTP/1.1 502")


def test_tls_12_the_second_exchange_is_as_any_other() -> None:
    driver = Kept().feed(GET)
    driver.upstreams[0].send(ANSWER)
    driver.take()
    driver.feed(GET)
    driver.upstreams[0].close()
    assert len(driver.upstreams) == 1
    assert driver.take().startswith(b"HTTP/1.1 502")


def test_tls_12_one_that_its_server_has_closed_meanwhile_is_not_used() -> None:
    driver = Kept()
    driver.upstreams[0].close()
    driver.feed(GET)
    assert bytes(driver.upstreams[0].received) == b""
    driver.upstreams[1].send(ANSWER)
    assert driver.take().endswith(b"ok")


def _request(method: str, content: bytes | None = b"", **fields: str) -> http.Request:
    request = http.Request.make(
        method, "https://example.com/", headers={name.replace("_", "-"): v for name, v in fields.items()}
    )
    request.data.content = content
    if "Content_Length" not in fields:
        request.headers.pop("content-length", None)
    return request


@pytest.mark.parametrize(
    ("request_", "repeatable"),
    [
        (_request("GET"), True),
        (_request("HEAD"), True),
        (_request("OPTIONS"), True),
        (_request("GET", None), False),
        (_request("GET", b"x"), False),
        (_request("GET", Content_Length="0"), False),
        (_request("GET", Transfer_Encoding="chunked"), False),
        (_request("GET", Upgrade="websocket"), False),
        (_request("GET", Expect="100-continue"), False),
        (_request("POST"), False),
        (_request("get"), False),
        (_request("TRACE"), False),
    ],
)
def test_tls_12_which_requests_may_be_made_twice(request_: http.Request, repeatable: bool) -> None:
    assert is_repeatable(request_) is repeatable
