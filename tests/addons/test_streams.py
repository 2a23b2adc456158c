"""Which bodies are judged unit by unit, and how (C7)."""

import base64
import gzip
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.http import HTTPFlow

from addons.carry import is_ours
from addons.coded_units import Base64
from addons.decoding import Undecodable
from addons.unit_views import Window, of_protobuf
from appliance.domain.coverage import coverage
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome
from appliance.engine.messages import JUDGES, BodyJudge, Judged, Refusal, Unit
from icap.client import Adapted, Message
from tests.addons.flows import answered, conn, flow, task
from tests.addons.test_adapt import Place, Service, verdict

SSE = "text/event-stream"


class Finder:
    """Blocks what holds ``bad``."""

    def __init__(self) -> None:
        self.shown: list[bytes] = []
        self.messages: list[Message] = []

    async def adapt(self, message: Message) -> Adapted:
        body = message.body
        assert isinstance(body, bytes | None)
        self.messages.append(message)
        self.shown.append(body or b"")
        bad = b"bad" in (body or b"")
        outcome, reason = (Outcome.BLOCKED, Reason.MALWARE_FOUND) if bad else (Outcome.CLEAN, Reason.OK)
        return Adapted(verdict(message.method, outcome, reason, size=len(body or b""), signature="X" if bad else ""))


def streaming(place: Place, kind: str = SSE, **fields: str) -> tuple[HTTPFlow, TaskNotes]:
    made = flow()
    notes = task(made)
    response = answered(made, body=b"")
    response.headers.pop("content-length", None)
    response.headers.update({"Content-Type": kind} | {name.replace("_", "-"): value for name, value in fields.items()})
    place.adapt.responseheaders(made)
    return made, notes


def judge_of(made: HTTPFlow) -> BodyJudge:
    judge: BodyJudge = made.metadata[JUDGES[False]]
    return judge


def found(judge: BodyJudge, *pieces: bytes) -> list[Unit]:
    reader = judge.reader()
    assert reader is not None
    units = [unit for piece in pieces for unit in reader.read(piece)]
    return units + list(reader.end())


def place_of(service: Any, **settings: Any) -> Place:
    return Place(service, **settings)


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        (SSE, {}, True),
        (SSE, {"content_length": "10"}, False),
        (SSE, {"content_disposition": "attachment"}, False),
        ("application/x-ndjson", {}, True),
        ("application/jsonl; charset=utf-8", {}, True),
        ("application/grpc+proto", {}, True),
        ("application/grpc-web-text", {}, True),
        ("application/connect+json", {}, True),
        ("multipart/x-mixed-replace; boundary=x", {}, True),
        ("application/json", {}, False),
        ("multipart/mixed; boundary=x", {}, False),
    ],
)
def test_c7_streams_are_told_by_their_media_type_and_that_they_have_no_length(
    kind: str, fields: dict[str, str], expected: bool
) -> None:
    made, notes = streaming(place_of(Service()), kind, **fields)
    assert (JUDGES[False] in made.metadata) is expected
    assert made.response is not None
    assert (bool(made.response.stream), notes.not_scanned) == (expected, [])


@pytest.mark.security
@pytest.mark.parametrize("status", [204, 206, 304])
def test_c7_what_is_no_whole_answer_is_none_without_an_end(status: int) -> None:
    """A part of a resource follows ``ranges``."""
    place = place_of(Service())
    made = flow()
    notes = task(made)
    response = answered(made, status, b"", {"Content-Type": SSE})
    response.headers.pop("content-length", None)
    place.adapt.responseheaders(made)
    assert JUDGES[False] not in made.metadata
    assert (notes.reason is Reason.NOT_SCANNABLE) is (status == 206)


@pytest.mark.security
def test_c7_what_a_browser_would_keep_as_a_file_is_not_taken_apart() -> None:
    place = place_of(Service())
    made = flow(headers={"Sec-Fetch-Mode": "navigate"})
    task(made)
    answered(made, body=b"", headers={"Content-Type": SSE}).headers.pop("content-length")
    place.adapt.responseheaders(made)
    assert JUDGES[False] not in made.metadata


@pytest.mark.parametrize(("policy", "stopped"), [("block", True), ("bypass", False)])
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (SSE, {"content_encoding": "snappy"}),
        ("application/grpc", {"grpc_encoding": "snappy"}),
        ("application/connect+proto", {"connect_content_encoding": "lz4"}),
        ("multipart/x-mixed-replace", {}),
        ("multipart/x-mixed-replace; boundary=", {}),
    ],
)
def test_c7_what_cannot_be_read_follows_the_policy_for_that(
    kind: str, fields: dict[str, str], policy: str, stopped: bool
) -> None:
    made, notes = streaming(place_of(Service(), content_codings={"undecodable": policy}), kind, **fields)
    assert (is_ours(made), notes.reason is Reason.NOT_SCANNABLE) == (stopped, stopped)
    assert notes.not_scanned == ([] if stopped else ["response: undecodable"])
    assert JUDGES[False] not in made.metadata


@pytest.mark.parametrize("kind", [SSE, "application/x-ndjson", "multipart/x-mixed-replace; boundary=x"])
async def test_lim_04_uploads_that_call_themselves_so_are_held_as_others_are(kind: str) -> None:
    made = flow("POST", headers={"Content-Type": kind})
    task(made)
    assert place_of(Service()).adapt.requestheaders(made) is None
    assert (JUDGES[True] in made.metadata, made.request.stream) == (False, False)


@pytest.mark.security
@pytest.mark.parametrize("bad", [True, False])
async def test_c7_the_head_of_a_call_is_judged_before_the_server_is_asked(bad: bool) -> None:
    blocked = Adapted(verdict("REQMOD", Outcome.BLOCKED, Reason.ICAP_BLOCKED))
    place = place_of(service := Service(*([blocked] if bad else [])))
    made = flow("POST", headers={"Content-Type": "application/grpc"})
    notes = task(made)
    pending = place.adapt.requestheaders(made)
    assert pending is not None
    await pending
    (message,) = service.shown
    assert (message.method, message.body or None) == ("REQMOD", None)
    assert (is_ours(made), notes.reason is Reason.ICAP_BLOCKED) == (bad, bad)
    assert (JUDGES[True] in made.metadata, bool(made.request.stream)) == (not bad, not bad)


@pytest.mark.parametrize("narrow", [True, False])
async def test_c7_a_server_is_not_told_of_codings_that_nobody_here_undoes(narrow: bool) -> None:
    fields = {"Grpc-Accept-Encoding": "snappy, gzip,identity", "Connect-Accept-Encoding": "lz4"}
    made = flow("POST", headers={"Content-Type": "application/grpc"} | fields)
    task(made)
    pending = place_of(Service(), content_codings={"narrow": narrow}).adapt.requestheaders(made)
    assert pending is not None
    await pending
    left = {name: made.request.headers[name] for name in fields}
    expected = {"Grpc-Accept-Encoding": "gzip,identity", "Connect-Accept-Encoding": "identity"}
    assert left == (expected if narrow else fields)


async def test_c7_a_service_is_shown_the_whole_heads_and_each_unit_as_a_body() -> None:
    place = place_of(service := Finder())
    made, notes = streaming(place, SSE, X_Origin="yes", Content_Encoding="identity")
    judge = judge_of(made)
    assert await judge.judge_all(found(judge, b"data: a\n\n")) == Judged(1)
    (message,) = service.messages
    assert message.response_head is not None
    assert message.response_head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"X-Origin: yes\r\n" in message.response_head
    assert b"Content-Type: text/plain; charset=utf-8\r\n\r\n" in message.response_head
    assert b"event-stream" not in message.response_head
    assert message.request_head.startswith(b"GET http://example.test/path?q=1 HTTP/1.1\r\n")
    assert (service.shown, notes.scanned_bytes) == ([b"a"], {"response": 9})


@pytest.mark.security
async def test_c7_units_are_shown_by_themselves_and_with_what_came_before() -> None:
    place = place_of(service := Finder(), stream_units={"overlap": 5})
    judge = judge_of(streaming(place)[0])
    for text in (b"abcd", b"efgh", b"ijkl"):
        await judge.judge_all(found(judge, b"data: " + text + b"\n\n"))
    assert set(service.shown) == {b"abcd", b"efgh", b"abcdefgh", b"ijkl", b"efghijkl", b"defghijkl"}


@pytest.mark.security
@pytest.mark.parametrize(("overlap", "passed"), [(3, False), (2, False), (1, True)])
async def test_c7_what_is_cut_in_two_is_found_within_the_overlap(overlap: int, passed: bool) -> None:
    """At the limit: two octets of the first event are needed."""
    place = place_of(Finder(), stream_units={"overlap": overlap})
    judge = judge_of(streaming(place)[0])
    assert (await judge.judge_all(found(judge, b"data: xba\n\n"))).refusal is None
    verdict = await judge.judge_all(found(judge, b"data: d\n\n"))
    assert verdict == (Judged(1) if passed else Judged(0, Refusal(1008, "malware_found: X")))


@pytest.mark.security
async def test_c7_of_a_burst_what_stands_before_the_infected_one_goes_on() -> None:
    made, notes = streaming(place_of(Finder(), stream_units={"overlap": 0}))
    judge = judge_of(made)
    units = found(judge, b"data: one\n\ndata: two\n\ndata: bad\n\ndata: four\n\n")
    verdict = await judge.judge_all(units)
    assert (verdict.passed, verdict.refusal) == (2, Refusal(1008, "malware_found: X"))
    judge.passed(22)
    assert (notes.reason, notes.status, notes.response_bytes) == (Reason.MALWARE_FOUND, 200, 22)
    assert coverage(notes) == {"response: scanned": 22}


@pytest.mark.security
async def test_c7_comments_and_names_are_shown_as_well() -> None:
    judge = judge_of(streaming(place_of(service := Finder()))[0])
    assert (await judge.judge_all(found(judge, b": bad\n\n"))).refusal is not None
    assert b"\n: bad\n" in service.shown


@pytest.mark.security
@pytest.mark.parametrize(
    "stream",
    [
        b": bad" + b"x" * 75 + b"\n\n: " + b"y" * 78 + b"\n\n",
        b"data: ba\ndata: d" + b"x" * 80 + b"\n: " + b"y" * 90 + b"\n\n",
        b"data: " + b"x" * 98 + b"ba\n\ndata: d" + b"y" * 20 + b"\n: " + b"z" * 98 + b"\n\n",
    ],
    ids=["comments of two events", "a pattern on two lines", "a pattern across two events"],
)
async def test_c7_a_view_that_is_larger_than_a_service_takes_is_shown_in_pieces(stream: bytes) -> None:
    judge = judge_of(streaming(place_of(service := Finder(), max_scan_size=100))[0])
    assert (await judge.judge_all(found(judge, stream))).refusal is not None
    assert max(map(len, service.shown)) <= 100


@pytest.mark.security
@pytest.mark.parametrize("kind", [SSE, "application/x-ndjson"])
@pytest.mark.parametrize(("policy", "passed"), [("block", 0), ("bypass", 1)])
async def test_c7_a_file_that_calls_itself_a_stream_of_text_is_none(kind: str, policy: str, passed: int) -> None:
    """A program, cut at its line feeds, would be shown to scanners in pieces, and kept whole by its client."""
    place = place_of(service := Finder(), content_codings={"undecodable": policy})
    made, notes = streaming(place, kind)
    judge = judge_of(made)
    verdict = await judge.judge_all(found(judge, b"MZ\x90\0\3\n\n"))
    assert (verdict.passed, service.shown) == (passed, [])
    assert (notes.reason is Reason.NOT_SCANNABLE) is not bool(passed)
    assert notes.not_scanned == (["response: undecodable"] if passed else [])


async def test_c7_an_infected_unit_is_put_into_quarantine() -> None:
    kept: list[tuple[str, bytes]] = []

    class Cabinet:
        def take(self, tenant: str, size: int, make: Any) -> str:
            item, body = make()
            kept.append((item.side, body.read()))
            assert (item.size, item.coding, item.signature, item.host) == (size, "", "X", "example.test")
            return "id"

        def refuse(self, tenant: str, why: Any) -> str:
            raise AssertionError(why)

    place = place_of(Finder())
    place.adapt._settlement._quarantine = Cabinet()
    made, notes = streaming(place)
    judge = judge_of(made)
    await judge.judge_all(found(judge, b"data: so bad\n\n"))
    assert (kept, notes.quarantine) == ([("response", b"so bad")], "id")


@pytest.mark.security
async def test_ten_03_one_tenant_s_window_is_no_other_s() -> None:
    """Each stream has its own: what one tenant was sent is never shown with another's."""
    place = place_of(service := Finder())
    for _ in range(2):
        judge = judge_of(streaming(place)[0])
        await judge.judge_all(found(judge, b"data: secret\n\n"))
    assert service.shown == [b"secret", b"secret"]
    assert {message.tenant for message in service.messages} == {str(conn().tenant)}


# -- packed ---------------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(1, 30))
def test_c7_a_packed_body_goes_on_packed_and_is_shown_unpacked(texts: list[bytes], step: int) -> None:
    texts = [text.replace(b"\r", b"").replace(b"\n", b"") for text in texts]
    packed = gzip.compress(b"".join(b"data: " + text + b"\n\n" for text in texts))
    judge = judge_of(streaming(place_of(Service()), content_encoding="gzip")[0])
    units = found(judge, *(packed[at : at + step] for at in range(0, len(packed), step)))
    assert b"".join(unit.wire for unit in units) == packed
    assert b"".join(unit.data or b"" for unit in units) == b"".join(texts)


@pytest.mark.security
@pytest.mark.parametrize(("policy", "reason"), [("block", Reason.NOT_SCANNABLE), ("bypass", Reason.OK)])
async def test_c7_a_body_that_is_not_packed_as_it_says(policy: str, reason: Reason) -> None:
    place = place_of(service := Finder(), content_codings={"undecodable": policy})
    made, notes = streaming(place, content_encoding="gzip")
    judge = judge_of(made)
    reader = judge.reader()
    assert reader is not None
    (unit,) = reader.read(b"data: this is no gzip")
    assert (await judge.judge_all([unit])).refusal == (
        Refusal(1008, notes.detail and f"not_scannable: {notes.detail}") if reason is not Reason.OK else None
    )
    (after,) = reader.read(b"nor is this")
    judge.follow(after)
    assert (notes.reason, after.rest, service.shown) == (reason, True, [])
    assert reason is not Reason.OK or notes.unscanned_bytes == {"response: undecodable": 32}


@pytest.mark.security
async def test_lim_04_a_unit_that_unpacks_beyond_its_limit() -> None:
    made, notes = streaming(place_of(Finder(), max_message_size=1000), "application/grpc", grpc_encoding="gzip")
    judge = judge_of(made)
    for size, stopped in ((1000, False), (1001, True)):
        packed = gzip.compress(b"x" * size)
        (unit,) = found(judge, b"\1" + len(packed).to_bytes(4) + packed)
        assert unit.packed
        assert ((await judge.judge_all([unit])).refusal is not None) is stopped
    assert notes.reason is Reason.BODY_TOO_LARGE


@pytest.mark.security
@pytest.mark.parametrize(
    "packed",
    [gzip.compress(bytes(30_000_000)), b"\x1f\x8b\x08 no gzip", zlib.compress(b"x")],
    ids=["bomb", "no gzip", "deflate"],
)
async def test_lim_04_a_message_that_is_a_bomb_or_broken(packed: bytes) -> None:
    made, notes = streaming(place_of(service := Finder()), "application/grpc", grpc_encoding="gzip")
    judge = judge_of(made)
    assert (await judge.judge_all(found(judge, b"\1" + len(packed).to_bytes(4) + packed))).refusal is not None
    assert notes.reason in (Reason.NOT_SCANNABLE, Reason.BODY_TOO_LARGE)
    assert service.shown == []


@pytest.mark.security
async def test_c7_messages_of_grpc_are_shown_unpacked_and_by_what_they_say() -> None:
    made, _ = streaming(place_of(service := Finder()), "application/grpc", grpc_encoding="gzip")
    judge = judge_of(made)
    packed = gzip.compress(b"\x0a\x02ba")
    assert (await judge.judge_all(found(judge, b"\1" + len(packed).to_bytes(4) + packed))) == Judged(1)
    assert set(service.shown) == {b"\x0a\x02ba", b"ba"}
    assert (await judge.judge_all(found(judge, b"\0\0\0\0\3\x0a\1d"))).refusal is not None, "a pattern across two messages"


async def test_c7_grpc_web_in_base64() -> None:
    made, _ = streaming(place_of(service := Finder()), "application/grpc-web-text+proto")
    judge = judge_of(made)
    message = base64.b64encode(b"\0\0\0\0\4test") + base64.b64encode(b"\x80\0\0\0\1x")
    units = found(judge, message[:5], message[5:])
    assert b"".join(unit.wire for unit in units) == message
    assert [unit.data for unit in units] == [b"test", b"x"]


@pytest.mark.security
@pytest.mark.parametrize("cut", [0, 1, 2])
async def test_c7_base64_without_its_padding_is_shown_to_its_end(cut: int) -> None:
    """Readers do without the signs of padding, and have the last octet."""
    made, _ = streaming(place_of(Finder()), "application/grpc-web-text+proto")
    message = base64.b64encode(b"\0\0\0\0\5test!")
    message = message[: len(message) - cut]
    units = found(judge_of(made), message)
    assert b"".join(unit.wire for unit in units) == message
    assert b"".join(unit.data or b"" for unit in units) == b"test!"


async def test_c7_base64_that_ends_in_the_middle_of_an_octet_is_refused() -> None:
    made, notes = streaming(place_of(Finder()), "application/grpc-web-text+proto")
    judge = judge_of(made)
    verdict = await judge.judge_all(found(judge, b"AAAAAAV0ZXN0I"))
    assert verdict.refusal is not None
    assert notes.reason is Reason.NOT_SCANNABLE


@given(st.lists(st.binary(max_size=20), max_size=6), st.integers(1, 9))
def test_c7_base64_in_pieces(parts: list[bytes], step: int) -> None:
    stream = b"".join(map(base64.b64encode, parts))
    undo = Base64()
    assert b"".join(piece for at in range(0, len(stream), step) for piece in undo.feed(stream[at : at + step])) == b"".join(
        parts
    )


@given(st.binary(max_size=40))
def test_c7_what_is_no_base64_is_refused_and_nothing_else_happens(data: bytes) -> None:
    try:
        made = b"".join(Base64().feed(data))
    except Undecodable:
        return
    assert len(made) <= len(data)


# -- what is shown ------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=60))
def test_c7_any_bytes_are_a_message_or_stay_what_they_are(data: bytes) -> None:
    said = of_protobuf(data)
    assert said == data or len(said) < len(data)


@given(st.lists(st.tuples(st.integers(1, 1 << 28), st.one_of(st.binary(max_size=200), st.integers(0, 1 << 63))), max_size=8))
def test_c7_the_fields_of_a_message_say_what_they_hold(fields: list[tuple[int, Any]]) -> None:
    def varint(number: int) -> bytes:
        out = bytearray()
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        return bytes(out) + bytes([number])

    data = b"".join(
        varint(tag << 3 | 2) + varint(len(value)) + value if isinstance(value, bytes) else varint(tag << 3) + varint(value)
        for tag, value in fields
    )
    said = b"".join(value for _, value in fields if isinstance(value, bytes))
    assert of_protobuf(data) == (said or data)


@given(st.lists(st.lists(st.binary(max_size=9), min_size=1, max_size=4), max_size=6), st.integers(0, 30))
def test_c7_whatever_is_said_the_end_of_what_came_before_is_shown_with_it(runs: list[list[bytes]], overlap: int) -> None:
    window, before = Window(overlap), b""
    for run in runs:
        views = window.views([Unit(each, each) for each in run], run)
        now = b"".join(run)
        if overlap and (before[-overlap:] + now):
            assert before[-overlap:] + now in views
        assert all(0 <= index < len(run) for index in views.values())
        window.remember(run)
        before += now
