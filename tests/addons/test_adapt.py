"""Which messages are held for a scan, what the service is shown, and what its answer does to the flow."""

from dataclasses import replace
from typing import Any

import pytest
from mitmproxy.http import HTTPFlow

from addons.adapt import Adapt
from addons.carry import is_ours
from addons.icap_message import request_message, response_message
from addons.scanning import Scanning
from appliance.config.auditor import Auditor
from appliance.domain.notes import EscapeNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from appliance.engine.inspection import PLANS
from appliance.policy.scan_rules import Direction, ScanRules
from icap.client import Adapted, FailPolicy, Message, Room
from icap.client.kept import coding_of
from tests.addons.flows import ALICE, A, answered, conn, flow, page, task

URI = "icap://scanner/x"


def verdict(method: str, outcome: Outcome = Outcome.CLEAN, reason: Reason = Reason.OK, **fields: Any) -> ScanVerdict:
    return ScanVerdict("icap://scanner/x", method, outcome, reason, **fields)


class Service:
    """Answers with what it was given, and keeps what it was shown."""

    def __init__(self, *answers: Adapted) -> None:
        self.answers = list(answers)
        self.shown: list[Message] = []

    async def adapt(self, message: Message) -> Adapted:
        self.shown.append(message)
        return self.answers.pop(0) if self.answers else Adapted(verdict(message.method))


class _Any(dict[tuple[str, Direction], Any]):
    """One service, whatever it is called."""

    def __init__(self, service: FailPolicy) -> None:
        super().__init__()
        self._service = service

    def __missing__(self, key: tuple[str, Direction]) -> FailPolicy:
        return self._service


class Place:
    def __init__(self, service: Service | None = None, **settings: Any) -> None:
        self.service = service
        self.counted: list[ScanVerdict] = []
        uris = {f"icap_{method}_service": URI for method in ("reqmod", "respmod")} if service is not None else {}
        auditor = Auditor.model_validate({"name": "inspect", **uris, **settings})
        policed = FailPolicy(service or Service(), on_error=auditor.icap_on_error)
        scanning = Scanning(auditor, ScanRules.compile(auditor, {}), _Any(policed))
        self.room = Room()
        self.adapt = Adapt({A: scanning}, page, self.counted.append, self.room)

    async def request(self, made: HTTPFlow) -> None:
        self.adapt.requestheaders(made)
        if (pending := self.adapt.request(made)) is not None:
            await pending

    async def response(self, made: HTTPFlow) -> None:
        self.adapt.responseheaders(made)
        if (pending := self.adapt.response(made)) is not None:
            await pending


async def test_a_request_is_shown_whole_and_a_clean_one_is_untouched() -> None:
    place = Place(service := Service())
    made = flow("POST", "http://example.test/up", {"X-A": "1", "Connection": "close"}, b"data")
    notes = task(made)
    before = made.request.headers.fields
    await place.request(made)
    (message,) = service.shown
    assert bytes(message.request_head).startswith(b"POST http://example.test/up HTTP/1.1\r\n")
    assert bytes(message.request_head).endswith(b"\r\n\r\n")
    assert b"X-A: 1\r\n" in bytes(message.request_head)
    assert b"connection" not in bytes(message.request_head).lower()
    assert (message.method, message.body, message.response_head, message.task_id) == ("REQMOD", b"data", None, notes.task_id)
    assert (made.request.headers.fields, made.request.raw_content, made.response) == (before, b"data", None)
    assert ([each.outcome for each in notes.scans], place.counted, notes.not_scanned) == ([Outcome.CLEAN], notes.scans, [])


async def test_a_response_is_shown_with_its_request() -> None:
    place = Place(service := Service(), ranges="pass")
    made = flow(http2=True)
    task(made)
    answered(made, 206, b"part", {"Content-Type": "text/plain"})
    await place.response(made)
    (message,) = service.shown
    assert bytes(message.request_head).startswith(b"GET http://example.test/path?q=1 HTTP/1.1\r\nHost: example.test\r\n")
    assert message.response_head is not None
    assert bytes(message.response_head).startswith(b"HTTP/1.1 206 ")
    assert message.body == b"part"


@pytest.mark.parametrize("told", [True, False])
async def test_who_asks_is_told_when_it_may_be(told: bool) -> None:
    place = Place(service := Service(), icap_send_identity=told)
    made = flow(notes=conn(user=ALICE, escape=EscapeNotes(resolved_ip="203.0.113.9")))
    task(made)
    await place.request(made)
    who = service.shown[0].identity
    expected = ("10.0.0.7", "alice", "a", "a/alice", "203.0.113.9") if told else ("",) * 5
    assert (who.client_ip, who.user, who.tenant, who.subscriber, who.server_ip) == expected


async def test_a_virus_is_a_page_of_ours_and_the_server_s_status_is_kept() -> None:
    infected = Adapted(
        verdict("RESPMOD", Outcome.BLOCKED, Reason.MALWARE_FOUND, signature="Eicar"),
        "response",
        b"HTTP/1.1 403 X\r\n\r\n",
        b"s",
    )
    place = Place(Service(infected))
    made = flow()
    notes = task(made)
    answered(made, body=b"virus")
    await place.response(made)
    assert made.response is not None
    assert (made.response.content, made.response.status_code, is_ours(made)) == (b"malware_found", 403, True)
    assert (notes.reason, notes.detail, notes.upstream_status, notes.status) == (Reason.MALWARE_FOUND, "Eicar", 200, 403)


async def test_the_service_s_own_page_where_it_is_wanted() -> None:
    infected = Adapted(
        verdict("RESPMOD", Outcome.BLOCKED, Reason.ICAP_BLOCKED), "response",
        b"HTTP/1.1 451 No\r\nX-Service: 1\r\nContent-Length: 4\r\n\r\n", b"page",
    )  # fmt: skip
    place = Place(Service(infected), icap_block_page="service")
    made = flow()
    notes = task(made)
    answered(made)
    await place.response(made)
    assert made.response is not None
    assert (made.response.status_code, made.response.raw_content, made.response.headers["x-service"]) == (451, b"page", "1")
    assert (notes.reason, notes.status) == (Reason.ICAP_BLOCKED, 451)


@pytest.mark.security
@pytest.mark.parametrize(("policy", "passes"), [("block", False), ("bypass", True)])
@pytest.mark.parametrize("kind", ["request", "response"])
async def test_a_scan_that_failed_follows_the_configuration(policy: str, passes: bool, kind: str) -> None:
    method = "REQMOD" if kind == "request" else "RESPMOD"
    place = Place(Service(Adapted(verdict(method, Outcome.ERROR, Reason.ICAP_TIMEOUT))), icap_on_error=policy)
    made = flow("POST", body=b"data")
    notes = task(made)
    if kind == "response":
        answered(made)
        await place.response(made)
    else:
        await place.request(made)
    assert is_ours(made) is not passes
    assert notes.reason is (Reason.OK if passes else Reason.ICAP_TIMEOUT)
    assert notes.not_scanned == ([f"{kind}: scan_failed"] if passes else [])
    assert notes.scans[0].outcome is (Outcome.BYPASSED if passes else Outcome.ERROR)


@pytest.mark.security
@pytest.mark.parametrize("http2", [True, False])
async def test_a_service_changes_fields_and_body_but_not_the_destination(http2: bool) -> None:
    head = b"POST http://evil.test/other HTTP/1.1\r\nHost: evil.test\r\nX-New: 1\r\nContent-Length: 3\r\n\r\n"
    place = Place(Service(Adapted(verdict("REQMOD"), "request", head, b"new")))
    made = flow("POST", headers={} if http2 else {"Host": "example.test"}, body=b"old", http2=http2)
    task(made)
    await place.request(made)
    assert (made.request.host, made.request.path, made.request.raw_content) == ("example.test", "/path?q=1", b"new")
    assert made.request.headers["x-new"] == "1"
    assert made.request.headers.get("host") == (None if http2 else "example.test")


async def test_a_service_may_answer_itself() -> None:
    place = Place(Service(Adapted(verdict("REQMOD"), "response", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"hi")))
    made = flow()
    notes = task(made)
    await place.request(made)
    assert made.response is not None
    assert (made.response.raw_content, is_ours(made), notes.reason) == (b"hi", True, Reason.OK)
    assert notes.conn.events == ["icap_request_satisfied"]


async def test_without_a_service_bodies_stream_and_are_counted() -> None:
    place = Place(None)
    made = flow("POST", body=b"data")
    notes = task(made)
    await place.request(made)
    response = answered(made)
    await place.response(made)
    assert callable(made.request.stream)
    assert callable(response.stream)
    assert [made.request.stream(b"12345"), response.stream(b"123"), response.stream(b"")] == [b"12345", b"123", b""]
    assert (notes.request_bytes, notes.response_bytes) == (5, 3)
    assert notes.not_scanned == ["request: no_service", "response: no_service"]


@pytest.mark.security
@pytest.mark.parametrize(
    ("settings", "headers", "reason", "not_scanned"),
    [
        ({"max_scan_size": 100}, {"Content-Length": "100"}, Reason.OK, []),
        ({"max_scan_size": 100}, {"Content-Length": "101"}, Reason.BODY_TOO_LARGE, []),
        ({"max_scan_size": 100, "oversize": "bypass"}, {"Content-Length": "101"}, Reason.OK, ["response: too_large"]),
        ({"event_stream": "block"}, {"Content-Type": "Text/Event-Stream; charset=utf-8"}, Reason.NOT_SCANNABLE, []),
        ({"event_stream": "bypass"}, {"Content-Type": "text/event-stream"}, Reason.OK, ["response: streamed"]),
        ({"event_stream": "block"}, {"Content-Type": "multipart/x-mixed-replace; boundary=a"}, Reason.NOT_SCANNABLE, []),
        ({}, {"Content-Type": "application/grpc+proto"}, Reason.OK, []),
        ({"event_stream": "bypass"}, {"Content-Type": "application/grpc+proto"}, Reason.OK, ["response: streamed"]),
        ({}, {"Content-Encoding": "br", "Content-Length": "5"}, Reason.OK, []),
        ({}, {"Content-Encoding": "compress", "Content-Length": "5"}, Reason.NOT_SCANNABLE, []),
        ({}, {"Content-Encoding": "br, br, br", "Content-Length": "5"}, Reason.NOT_SCANNABLE, []),
        (
            {"content_codings": {"undecodable": "bypass"}},
            {"Content-Encoding": "compress", "Content-Length": "5"},
            Reason.OK,
            ["response: undecodable"],
        ),
        ({"application_audit_ratio": 0.0}, {}, Reason.OK, ["response: not_sampled"]),
    ],
)
async def test_what_cannot_be_held_is_decided_before_the_body(
    settings: dict[str, Any], headers: dict[str, str], reason: Reason, not_scanned: list[str]
) -> None:
    place = Place(service := Service(), **settings)
    made = flow()
    notes = task(made)
    response = answered(made, body=b"")
    response.headers.update(headers)
    place.adapt.responseheaders(made)
    assert (notes.reason, notes.not_scanned, is_ours(made)) == (reason, not_scanned, reason is not Reason.OK)
    assert bool(response.stream) is bool(not_scanned)
    assert service.shown == []


@pytest.mark.security
@pytest.mark.parametrize(
    ("ranges", "forwarded", "stopped"),
    [("whole", False, True), ("pass", True, False), ("block", True, True)],
)
async def test_c7_parts_are_asked_for_whole_refused_or_scanned_alone(ranges: str, forwarded: bool, stopped: bool) -> None:
    """A server that sends a part nobody asked for has it stopped as well."""
    place = Place(Service(), ranges=ranges)
    asked = flow(headers={"Range": "bytes=0-33"})
    notes = task(asked)
    place.adapt.requestheaders(asked)
    assert ("range" in asked.request.headers) is forwarded
    assert is_ours(asked) is (ranges == "block")
    unasked = flow()
    notes = task(unasked)
    answered(unasked, 206, b"part")
    place.adapt.responseheaders(unasked)
    assert is_ours(unasked) is stopped
    assert notes.reason is (Reason.NOT_SCANNABLE if stopped else Reason.OK)
    assert notes.not_scanned == ([] if stopped else ["response: part"])


async def test_a_stream_of_grpc_that_may_pass_flows_in_both_directions() -> None:
    place = Place(Service(), event_stream="bypass")
    made = flow("POST", headers={"Content-Type": "application/grpc"})
    notes = task(made)
    place.adapt.requestheaders(made)
    assert callable(made.request.stream)
    assert notes.not_scanned == ["request: streamed"]


@pytest.mark.parametrize("kind", ["text/event-stream", "multipart/x-mixed-replace", "application/grpc"])
async def test_lim_04_an_upload_is_held_within_the_limits_whatever_it_calls_itself(kind: str) -> None:
    """Without a plan nothing would bound what is held of it."""
    place = Place(Service(), event_stream="block")
    made = flow("POST", headers={"Content-Type": kind})
    notes = task(made)
    place.adapt.requestheaders(made)
    assert PLANS[True] in made.metadata
    assert not made.request.stream
    assert notes.not_scanned == []


@pytest.mark.parametrize("narrow", [True, False])
async def test_c7_narrowing_what_is_accepted_is_optional(narrow: bool) -> None:
    place = Place(Service(), content_codings={"narrow": narrow})
    made = flow(headers={"Accept-Encoding": "gzip, br"})
    task(made)
    place.adapt.requestheaders(made)
    assert made.request.headers["accept-encoding"] == ("gzip" if narrow else "gzip, br")


async def test_the_answer_to_head_describes_a_body_that_does_not_come() -> None:
    place = Place(Service(), max_scan_size=100)
    made = flow("HEAD")
    notes = task(made)
    answered(made, body=b"").headers["content-length"] = "101"
    place.adapt.responseheaders(made)
    assert (notes.reason, is_ours(made)) == (Reason.OK, False)


@pytest.mark.security
@pytest.mark.parametrize("service", [Service(), None])
@pytest.mark.parametrize(("setting", "reason"), [("block", Reason.NOT_SCANNABLE), ("bypass", Reason.OK)])
async def test_an_upgrade_is_refused_where_websockets_are_blocked(
    service: Service | None, setting: str, reason: Reason
) -> None:
    place = Place(service, websocket=setting)
    made = flow()
    notes = task(made)
    answered(made, 101, b"", {"Upgrade": "websocket"})
    await place.response(made)
    assert (notes.reason, is_ours(made)) == (reason, reason is not Reason.OK)


async def test_pages_of_ours_are_not_scanned() -> None:
    place = Place(service := Service(Adapted(verdict("REQMOD", Outcome.BLOCKED, Reason.MALWARE_FOUND))))
    made = flow("POST", body=b"virus")
    task(made)
    await place.request(made)
    await place.response(made)
    assert len(service.shown) == 1


def test_a_share_of_connections_is_sampled_and_one_connection_is_all_or_nothing() -> None:
    place = Place(Service(), application_audit_ratio=0.5)
    outcomes = []
    for _ in range(200):
        given = conn()
        both = []
        for _ in range(2):
            made = flow(notes=given)
            both.append((task(made), place.adapt.requestheaders(made))[0].not_scanned)
        assert both[0] == both[1]
        outcomes.append(bool(both[0]))
    assert 50 < sum(outcomes) < 150


@pytest.mark.parametrize(
    "lines",
    [[], [(b"Content-Encoding", b"GZip")], [(b"content-encoding", b" br "), (b"X-A", b"1"), (b"CONTENT-ENCODING", b"gzip, x")]],
)
@pytest.mark.parametrize("plain", [False, True])
def test_icp_08_the_coding_of_a_message_is_what_its_head_says(lines: list[tuple[bytes, bytes]], plain: bool) -> None:
    made = flow("POST", "http://example.test/up", {}, b"data")
    task(made)
    answered(made, 200, b"data", {})
    assert made.response is not None
    made.request.headers.fields += tuple(lines)
    made.response.headers.fields += tuple(lines)
    auditor = Auditor(name="inspect")
    scanning = Scanning(auditor, ScanRules.compile(auditor, {}), {})
    for message in (
        request_message(made, scanning, plain=plain),
        response_message(made, made.response, scanning, plain=plain),
    ):
        assert message.coding is not None
        assert message.coding == coding_of(replace(message, coding=None))
        assert bool(message.coding) is (bool(lines) and not plain)
