"""Bodies that are scanned while they arrive: limits, what is kept back, and what a verdict does (C7, LIM-04)."""

import asyncio
import gzip
from typing import Any

import brotli
import pytest
from mitmproxy.http import HTTPFlow

from addons.adapt import Adapt
from addons.carry import is_ours
from addons.streaming import Streamed, inspected
from appliance.domain.ids import TenantId
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome
from appliance.engine.inspection import PLANS, Fate, Plan
from icap.client import Adapted, Body, Message, Room
from tests.addons.flows import A, answered, conn, flow, page, task
from tests.addons.test_adapt import Place, verdict

B = TenantId("b")


class Reading:
    """A service that waits for the whole body, as scanners do."""

    def __init__(self, answer: Adapted | None = None) -> None:
        self.answer = answer
        self.read = b""
        self.heads = b""

    async def adapt(self, message: Message) -> Adapted:
        body = message.body
        self.heads = bytes(message.response_head or b"")
        assert isinstance(body, Body)
        try:
            async for piece in body.pieces():
                self.read += piece
        except Exception:
            assert body.error is not None
            return Adapted(verdict(message.method, Outcome.ERROR, body.error.reason, size=body.size))
        return self.answer or Adapted(verdict(message.method, size=body.size))


def download(service: Reading, coding: str = "", **settings: Any) -> tuple[HTTPFlow, Place]:
    place = Place(service, **{"max_scan_size": 100, "large_bodies": {"above": 10}} | settings)  # type: ignore[arg-type]
    made = flow()
    task(made)
    answered(made, body=b"")
    made.response.headers.pop("content-length", None)  # type: ignore[union-attr]
    if coding:
        made.response.headers["content-encoding"] = coding  # type: ignore[union-attr]
    place.adapt.responseheaders(made)
    return made, place


def started(made: HTTPFlow) -> Streamed:
    plan: Plan = made.metadata[PLANS[False]]
    streamed = plan.start()
    assert isinstance(streamed, Streamed)
    return streamed


async def test_a_clean_body_goes_on_and_is_not_scanned_again() -> None:
    made, place = download(service := Reading())
    streamed = started(made)
    assert streamed.feed(b"x" * 100) == b""
    streamed.end()
    await streamed.judge()
    streamed.passed(100)
    notes = made.metadata["arcus.task"]
    assert (streamed.fate, service.read, notes.response_bytes) == (Fate.DELIVER, b"x" * 100, 100)
    assert (notes.scanned_bytes, notes.unscanned_bytes, notes.not_scanned) == ({"response": 100}, {}, [])
    assert inspected(made, request=False)
    assert place.adapt.response(made) is None


@pytest.mark.security
@pytest.mark.parametrize("began", [False, True])
async def test_c7_an_infected_body_is_a_page_or_a_reset_and_never_goes_on(began: bool) -> None:
    infected = Adapted(verdict("RESPMOD", Outcome.BLOCKED, Reason.MALWARE_FOUND, signature="Eicar", size=50))
    made, _ = download(Reading(infected))
    streamed = started(made)
    streamed.feed(b"x" * 50)
    streamed.started = began
    streamed.end()
    await streamed.judge()
    assert streamed.fate is (Fate.RESET if began else Fate.REPLACE)
    assert is_ours(made) is not began
    notes = made.metadata["arcus.task"]
    assert (notes.reason, notes.status) == (Reason.MALWARE_FOUND, 200 if began else 403)


@pytest.mark.security
async def test_a_service_that_changes_what_was_partly_sent_breaks_it_off() -> None:
    changed = Adapted(verdict("RESPMOD", Outcome.MODIFIED, size=5), "response", b"HTTP/1.1 200 OK\r\n\r\n", b"other")
    made, _ = download(Reading(changed))
    streamed = started(made)
    streamed.feed(b"x" * 5)
    streamed.started = True
    streamed.end()
    await streamed.judge()
    assert (streamed.fate, made.metadata["arcus.task"].reason) == (Fate.RESET, Reason.ICAP_BLOCKED)


@pytest.mark.parametrize(
    ("oversize", "fate", "scanned", "unscanned", "word"),
    [
        ("block", Fate.REPLACE, {}, {}, []),
        ("bypass", Fate.DELIVER, {}, {"response: too_large": 130}, ["response: too_large"]),
        ("head", Fate.DELIVER, {"response": 100}, {"response: head_only": 30}, ["response: head_only"]),
    ],
)
async def test_c7_one_byte_over_the_limit(
    oversize: str, fate: Fate, scanned: dict[str, int], unscanned: dict[str, int], word: list[str]
) -> None:
    made, _ = download(service := Reading(), oversize=oversize)
    streamed = started(made)
    assert streamed.feed(b"a" * 60) == b""
    assert streamed.feed(b"b" * 70) == b"b" * 30, "what is over the limit waits outside"
    assert streamed.feed(b"c") == b"c"
    await streamed.judge()
    if fate is Fate.DELIVER:
        streamed.passed(130)
    notes = made.metadata["arcus.task"]
    assert (streamed.fate, notes.scanned_bytes, notes.unscanned_bytes, notes.not_scanned) == (fate, scanned, unscanned, word)
    assert notes.reason is (Reason.BODY_TOO_LARGE if oversize == "block" else Reason.OK)
    if oversize == "head":
        assert service.read == b"a" * 60 + b"b" * 40


@pytest.mark.security
@pytest.mark.parametrize("oversize", ["block", "bypass", "head"])
async def test_lim_04_without_room_the_same_word_decides(oversize: str) -> None:
    """LIM-04"""
    made, place = download(Reading(), oversize=oversize)
    place.room.memory, place.room.directory = 20, None
    streamed = started(made)
    assert streamed.feed(b"a" * 20) == b""
    assert streamed.feed(b"b") == b"b"
    await streamed.judge()
    notes = made.metadata["arcus.task"]
    passes = oversize == "bypass"
    assert streamed.fate is (Fate.DELIVER if passes else Fate.REPLACE)
    assert notes.reason is (Reason.OK if passes else Reason.RESOURCE_EXHAUSTED)
    assert notes.not_scanned == (["response: no_room"] if passes else [])
    streamed.close()
    assert place.room.memory_used == 0


@pytest.mark.parametrize("on_error", ["block", "bypass"])
async def test_a_scan_that_fails_is_the_tenant_s_to_decide(on_error: str) -> None:
    failed = Adapted(verdict("RESPMOD", Outcome.ERROR, Reason.ICAP_TIMEOUT, size=50))
    made, _ = download(Reading(failed), icap_on_error=on_error)
    streamed = started(made)
    streamed.feed(b"x" * 50)
    streamed.end()
    await streamed.judge()
    if streamed.fate is Fate.DELIVER:
        streamed.passed(50)
    notes = made.metadata["arcus.task"]
    assert (streamed.fate is Fate.DELIVER) is (on_error == "bypass")
    assert notes.unscanned_bytes == ({"response: scan_failed": 50} if on_error == "bypass" else {})
    assert notes.scanned_bytes == {}


@pytest.mark.security
async def test_c7_a_packed_body_is_shown_unpacked_and_delivered_packed() -> None:
    packed = brotli.compress(b"plain text " * 3)
    made, _ = download(service := Reading(), "br")
    streamed = started(made)
    assert made.metadata[PLANS[False]].above == 0, "every byte of it goes through the decoder"
    for at in range(0, len(packed), 7):
        assert streamed.feed(packed[at : at + 7]) == b""
    streamed.end()
    await streamed.judge()
    streamed.passed(len(packed))
    notes = made.metadata["arcus.task"]
    assert service.read == b"plain text " * 3
    assert b"content-encoding" not in service.heads.lower()
    assert streamed.body.read(0, 1000) == packed
    assert (streamed.fate, notes.scanned_bytes, notes.unscanned_bytes) == (Fate.DELIVER, {"response": len(packed)}, {})


@pytest.mark.security
@pytest.mark.parametrize("undecodable", ["block", "bypass"])
@pytest.mark.parametrize(
    "packed", [b"\xffnot brotli at all" * 2, brotli.compress(b"text" * 9)[:-1], brotli.compress(bytes(5000))]
)
async def test_c7_what_is_not_what_it_says_or_unpacks_to_too_much(packed: bytes, undecodable: str) -> None:
    made, _ = download(Reading(), "br", content_codings={"undecodable": undecodable, "max_size": 4999})
    streamed = started(made)
    assert streamed.feed(packed) == b""
    streamed.end()
    await streamed.judge()
    notes = made.metadata["arcus.task"]
    if undecodable == "block":
        assert (streamed.fate, notes.reason, notes.scanned_bytes) == (Fate.REPLACE, Reason.NOT_SCANNABLE, {})
        return
    streamed.passed(len(packed))
    assert (streamed.fate, notes.unscanned_bytes) == (Fate.DELIVER, {"response: undecodable": len(packed)})


def odd_gzip(data: bytes, flags: int) -> bytes:
    """A header with a checksum (2), which is wrong, or with flags that mean nothing."""
    packed = gzip.compress(data)
    return packed[:3] + bytes([flags]) + packed[4:10] + (b"\0\0" if flags & 2 else b"") + packed[10:]


@pytest.mark.security
@pytest.mark.parametrize("flags", [0x02, 0x20, 0x40, 0x80])
@pytest.mark.parametrize("policy", ["block", "bypass"])
@pytest.mark.parametrize("cut", [1, 3, 4, 100])
async def test_gzip_that_browsers_take_and_scanners_do_not_is_not_scanned_as_something_else(
    flags: int, policy: str, cut: int
) -> None:
    """security: browsers skip the header's checksum and the reserved flags; to ClamAV it is then no gzip, and clean."""
    made, _ = download(Reading(), "gzip", content_codings={"undecodable": policy})
    body = odd_gzip(b"virus", flags)
    streamed = started(made)
    rest = streamed.feed(body[:cut]) + streamed.feed(body[cut:])
    streamed.end()
    await streamed.judge()
    streamed.passed(streamed.body.size + len(rest))
    notes = made.metadata["arcus.task"]
    if policy == "block":
        assert (streamed.fate, notes.reason, is_ours(made)) == (Fate.REPLACE, Reason.NOT_SCANNABLE, True)
    else:
        assert (streamed.fate, notes.unscanned_bytes) == (Fate.DELIVER, {"response: undecodable": len(body)})
    assert not notes.scanned_bytes


@pytest.mark.security
@pytest.mark.parametrize("policy", ["block", "bypass"])
async def test_the_same_of_a_small_body(policy: str) -> None:
    service = Reading()
    made, place = download(service, "gzip", content_codings={"undecodable": policy})
    made.response.data.content = body = odd_gzip(b"virus", 2)  # type: ignore[union-attr]
    assert place.adapt.response(made) is None
    notes = made.metadata["arcus.task"]
    assert not service.read
    if policy == "block":
        assert (notes.reason, is_ours(made)) == (Reason.NOT_SCANNABLE, True)
    else:
        assert notes.unscanned_bytes == {"response: undecodable": len(body)}


async def test_gzip_as_everybody_writes_it_is_left_to_the_scanner() -> None:
    made, _ = download(service := Reading(), "gzip")
    streamed = started(made)
    assert not streamed.feed(body := gzip.compress(b"hello"))
    streamed.end()
    await streamed.judge()
    assert (streamed.fate, service.read) == (Fate.DELIVER, body)


@pytest.mark.security
def test_lim_04_a_tenant_that_holds_much_leaves_room_to_another() -> None:
    """LIM-04. security: otherwise one could have another's bodies refused, or passed unscanned where that is its policy."""
    place = Place(Reading(), max_scan_size=1000, large_bodies={"above": 1000})  # type: ignore[arg-type]
    scanning = place.adapt._scanning[A]
    adapt = Adapt({A: scanning, B: scanning}, page, place.counted.append, room := Room(memory=400))
    plans: list[Plan] = []
    for tenant in (A, B):
        made = flow(notes=conn(tenant=tenant))
        task(made)
        answered(made, body=b"")
        adapt.responseheaders(made)
        plans.append(made.metadata[PLANS[False]])
    assert (plans[0].take(300), plans[0].take(1), plans[1].take(75)) == (True, False, True)
    plans[0].give_back(300)
    plans[1].give_back(75)
    assert room.memory_used == 0


@pytest.mark.security
@pytest.mark.parametrize("oversize", ["block", "bypass"])
async def test_what_was_found_counts_although_the_body_broke_a_limit_just_then(oversize: str) -> None:
    """security: a body that may pass unscanned above the limit must not take a find in its beginning along."""
    answer = asyncio.Event()

    class Finds(Reading):
        async def adapt(self, message: Message) -> Adapted:
            await answer.wait()
            return Adapted(verdict("RESPMOD", Outcome.BLOCKED, Reason.MALWARE_FOUND, signature="Eicar", size=100))

    made, _ = download(Finds(), oversize=oversize)
    streamed = started(made)
    streamed.feed(b"x" * 100)
    judging = asyncio.create_task(streamed.judge())
    await asyncio.sleep(0)
    answer.set()
    assert streamed.feed(b"y") == b"y"
    await judging
    notes = made.metadata["arcus.task"]
    assert (streamed.fate, notes.reason, is_ours(made)) == (Fate.REPLACE, Reason.MALWARE_FOUND, True)
    assert not notes.not_scanned


async def test_c7_of_a_large_body_the_client_gets_the_part_that_it_asked_for() -> None:
    """Cut out of the whole that was scanned."""
    place = Place(service := Reading(), max_scan_size=100, large_bodies={"above": 10})  # type: ignore[arg-type]
    made = flow()
    task(made)
    made.request.headers["range"] = "bytes=10-19"
    place.adapt.requestheaders(made)
    assert "range" not in made.request.headers
    answered(made, body=b"")
    assert made.response is not None
    made.response.headers.pop("content-length", None)
    place.adapt.responseheaders(made)
    streamed = started(made)
    streamed.feed(bytes(range(50)))
    streamed.end()
    await streamed.judge()
    assert (streamed.fate, service.read) == (Fate.REPLACE, bytes(range(50)))
    assert streamed.replacement is not None
    assert [piece async for piece in streamed.replacement.pieces()] == [bytes(range(10, 20))]
    assert (made.response.status_code, made.response.headers["content-range"]) == (206, "bytes 10-19/50")
    assert made.response.headers["content-length"] == "10"
    streamed.close()


@pytest.mark.security
@pytest.mark.parametrize("how", ["packed", "unpacked"])
async def test_c7_gzip_is_shown_as_the_service_wants_it_and_delivered_as_it_was(how: str) -> None:
    """For services that do not unpack it themselves; also a small body is then shown unpacked."""
    made, place = download(service := Reading(), "gzip", content_codings={"gzip": how})
    assert made.metadata[PLANS[False]].above == (0 if how == "unpacked" else 10)
    streamed = started(made)
    streamed.feed(packed := gzip.compress(b"text of the file"))
    streamed.end()
    await streamed.judge()
    assert service.read == (b"text of the file" if how == "unpacked" else packed)
    assert (b"content-encoding" in service.heads.lower()) is (how == "packed")
    assert (streamed.fate, streamed.body.read(0, 99)) == (Fate.DELIVER, packed)
    notes = made.metadata["arcus.task"]
    assert notes.scanned_bytes == {"response": len(packed)}
