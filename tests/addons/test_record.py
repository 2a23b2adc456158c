"""The end of every task: recorded exactly once, with what happened, before the answer is released."""

from collections.abc import Callable

import pytest
from mitmproxy.flow import Error
from mitmproxy.http import HTTPFlow
from mitmproxy.websocket import WebSocketData, WebSocketMessage
from wsproto.frame_protocol import Opcode

from addons.carry import is_ours, known_task, mark_ours
from addons.ends import Ends
from addons.finish import Finish
from addons.record import Record
from addons.trusting import Trusting
from appliance.domain.clock import SystemClock
from appliance.domain.coverage import coverage
from appliance.domain.facts import HelloFacts
from appliance.domain.notes import EscapeNotes, TaskNotes, TlsNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.engine.websocket import OCTETS
from tests.addons.flows import answered, conn, flow, page, task


class Log:
    """A recorder that marks what it has written, as the real one does, and refuses a second time."""

    def __init__(self) -> None:
        self.written: list[TaskNotes] = []
        self.counted: list[TaskNotes] = []
        finish = Finish(self._write, self.counted.append)
        self.record, self.ends = Record(finish), Ends(finish, page, Trusting(SystemClock()))

    def _write(self, notes: TaskNotes) -> None:
        assert not notes.recorded
        notes.recorded = True
        self.written.append(notes)


@pytest.fixture
def log() -> Log:
    return Log()


def exchange(log: Log) -> tuple[HTTPFlow, TaskNotes]:
    made = flow("POST", body=b"12345")
    notes = task(made)
    answered(made, 201, b"123", {"Content-Type": "text/plain"})
    log.record.responseheaders(made)
    return made, notes


def test_an_exchange_is_recorded_once_with_sizes_and_statuses(log: Log) -> None:
    made, notes = exchange(log)
    escape = made.server_conn.arcus = EscapeNotes(path=("out",))  # type: ignore[attr-defined]
    log.record.response(made)
    log.record.response(made)
    assert log.written == log.counted == [notes]
    assert (notes.status, notes.upstream_status, notes.response_type, notes.stage) == (201, 201, "text/plain", "finished")
    assert (notes.request_bytes, notes.response_bytes, notes.escape) == (5, 3, escape)
    assert notes.ended >= notes.started


def test_steps_are_milliseconds_and_the_connection_belongs_to_the_first_request(log: Log) -> None:
    made, notes = exchange(log)
    made.request.timestamp_start, made.request.timestamp_end = 10.0, 10.5
    assert made.response is not None
    made.response.timestamp_start, made.response.timestamp_end = 11.0, 11.25
    made.server_conn.timestamp_start, made.server_conn.timestamp_tcp_setup = 9.0, 9.1
    made.server_conn.timestamp_tls_setup, made.client_conn.timestamp_tls_setup = 9.3, 1.5
    notes.conn.requests = 1
    log.record.response(made)
    assert notes.steps == {
        "request": 500.0, "wait": 500.0, "response": 250.0, "connect": 100.0, "server_tls": 200.0, "client_tls": 500.0,
    }  # fmt: skip
    later, second = exchange(log)
    later.server_conn.timestamp_start, later.request.timestamp_start = 9.0, 20.0
    second.conn.requests = 2
    log.record.response(later)
    assert not {"connect", "client_tls"} & set(second.steps)


def test_d3_what_a_websocket_relayed_is_counted_once_even_when_the_record_is_written_later(log: Log) -> None:
    made, notes = exchange(log)
    made.websocket = WebSocketData()
    log.record.response(made)
    made.metadata[OCTETS] = [7, 9]
    finish = Finish(_full, log.counted.append)
    with pytest.raises(OSError, match="no room"):
        finish.flow(made, notes)
    log.record.websocket_end(made)
    assert log.written == [notes]
    assert (notes.request_bytes, notes.response_bytes) == (5 + 7, 3 + 9)
    assert coverage(notes) == {"request: not_scanned websocket": 12, "response: not_scanned websocket": 12}


def _full(_: TaskNotes) -> None:
    raise OSError("no room")


def test_d3_an_answer_of_ours_is_in_the_bucket_for_those(log: Log) -> None:
    made, notes = exchange(log)
    mark_ours(made)
    log.record.response(made)
    assert coverage(notes)["response: own"] == 3


def test_a_page_of_ours_is_not_the_server_s_status(log: Log) -> None:
    made = flow()
    notes = task(made)
    answered(made, 403)
    mark_ours(made)
    log.record.responseheaders(made)
    log.record.response(made)
    assert (notes.status, notes.upstream_status, notes.escape) == (403, 0, None)


def test_a_websocket_is_recorded_at_its_end_and_keeps_no_message(log: Log) -> None:
    made, notes = exchange(log)
    made.websocket = WebSocketData()
    log.record.response(made)
    assert log.written == []
    for from_client in (True, False, False):
        made.websocket.messages.append(WebSocketMessage(Opcode.TEXT, from_client, b"secret"))
        log.record.websocket_message(made)
        assert len(made.websocket.messages) == 1
    log.record.websocket_end(made)
    assert (log.written, notes.kind, notes.websocket_frames, notes.not_scanned) == ([notes], "websocket", (1, 2), ["websocket"])


@pytest.mark.parametrize(
    ("message", "stage", "reason", "detail"),
    [
        ("connect_refused: 192.0.2.1 port 80", "decided", Reason.CONNECT_REFUSED, "192.0.2.1 port 80"),
        ("upstream_timeout", "sent", Reason.UPSTREAM_TIMEOUT, ""),
        ("Client disconnected.", "decided", Reason.CLIENT_CLOSED, "Client disconnected."),
        ("server closed connection", "responded", Reason.UPSTREAM_CLOSED, "server closed connection"),
        ("Connection killed.", "decided", Reason.CLIENT_CLOSED, "Connection killed."),
        ("something odd", "responded", Reason.UPSTREAM_PROTOCOL, "something odd"),
        ("something odd", "decided", Reason.BAD_REQUEST, "something odd"),
    ],
)
def test_a_failure_is_named(log: Log, message: str, stage: str, reason: Reason, detail: str) -> None:
    made = flow()
    notes = task(made, stage=stage)
    made.error = Error(message)
    log.record.error(made)
    assert (log.written, notes.reason, notes.detail) == ([notes], reason, detail)
    told = reason is not Reason.CLIENT_CLOSED
    assert made.client_conn.arcus.failed is (notes if told else None)
    assert notes.status == (reason.status if told else 0)


def test_the_first_reason_stays(log: Log) -> None:
    made = flow()
    notes = task(made)
    log.ends.flow_blamed(made, Reason.UPSTREAM_TIMEOUT)
    made.error = Error("server closed connection")
    log.record.error(made)
    assert notes.reason is Reason.UPSTREAM_TIMEOUT


def test_an_answer_that_has_begun_gets_no_page(log: Log) -> None:
    made, notes = exchange(log)
    assert made.response is not None
    made.response.stream = True
    made.error = Error("server closed connection")
    log.record.error(made)
    assert (log.written, made.client_conn.arcus.failed) == ([notes], None)


@pytest.mark.security
@pytest.mark.parametrize("known", [True, False])
def test_a_hook_that_failed_is_a_page_and_a_reason(log: Log, known: bool) -> None:
    made = flow()
    if known:
        task(made).fail(Reason.OK)
    log.ends.flow_failed(made, Reason.INTERNAL_ERROR, "requestheaders: KeyError", "requestheaders")
    notes = known_task(made)
    assert notes is not None
    assert made.response is not None
    assert (made.response.content, is_ours(made), notes.detail) == (b"internal_error", True, "requestheaders: KeyError")
    assert log.written == []
    log.record.response(made)
    assert log.written == [notes]


@pytest.mark.security
@pytest.mark.parametrize(("hook", "streams"), [("error", False), ("response", True)])
def test_what_cannot_be_replaced_is_killed_and_recorded(log: Log, hook: str, streams: bool) -> None:
    made, notes = exchange(log)
    assert made.response is not None
    made.live, made.response.stream = True, streams
    log.ends.flow_failed(made, Reason.INTERNAL_ERROR, "x", hook)
    assert made.error is not None
    assert (made.error.msg, log.written) == (Error.KILLED_MESSAGE, [notes])


def test_flows_that_are_open_at_the_end_are_recorded_then(log: Log) -> None:
    made, notes = exchange(log)
    done, _ = exchange(log)
    log.record.response(done)
    log.ends.connection_ended(notes.conn, [made, done], Reason.CLIENT_CLOSED, "", served=True)
    assert len(log.written) == 2
    assert notes.reason is Reason.CLIENT_CLOSED


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("", Reason.CLIENT_CLOSED),
        ("OpenSSL Error([('SSL routines', '', 'tlsv1 alert unknown ca')])", Reason.CLIENT_REJECTED_LEAF),
        ("The client disconnected during the handshake.", Reason.CLIENT_TLS_FAILED),
    ],
)
def test_a_connection_without_a_request_is_recorded_with_its_cause(log: Log, error: str, reason: Reason) -> None:
    given = conn(tunnel=Target("example.test", 443), hello=HelloFacts("example.test"), client_tls=TlsNotes(error=error))
    log.ends.connection_ended(given, [], Reason.CLIENT_CLOSED, "", served=False)
    (notes,) = log.written
    assert (notes.kind, notes.scheme, notes.target, notes.reason) == ("connection", "https", given.tunnel, reason)
    assert (notes.started, given.requests) == (1.0, 1)


@pytest.mark.parametrize(("reason", "records"), [(Reason.IDLE_TIMEOUT, 0), (Reason.HEADER_TIMEOUT, 1), (Reason.HTTP2_FLOOD, 1)])
def test_a_served_connection_is_recorded_again_only_when_it_was_cut(log: Log, reason: Reason, records: int) -> None:
    log.ends.connection_ended(conn(requests=3), [], reason, "", served=True)
    assert len(log.written) == records


@pytest.mark.security
@pytest.mark.parametrize("end", ["response", "error"])
def test_a_record_that_cannot_be_written_is_loud(end: str) -> None:
    def write(notes: TaskNotes) -> None:
        raise OSError("no room")

    counted: list[TaskNotes] = []
    hooks = Record(Finish(write, counted.append))
    made = flow()
    task(made)
    answered(made)
    made.error = Error("x")
    hook: Callable[[HTTPFlow], None] = getattr(hooks, end)
    with pytest.raises(OSError, match="no room"):
        hook(made)
    assert counted == []
