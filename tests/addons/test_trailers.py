"""Fields behind a body: judged, passed or left out, and counted (C7)."""

from typing import Any

import pytest
from mitmproxy.http import Headers, HTTPFlow

from addons.carry import is_ours
from addons.finish import Finish
from appliance.domain.coverage import coverage
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome
from icap.client import Adapted
from tests.addons.flows import answered, flow, task
from tests.addons.test_adapt import Place, Service, verdict
from tests.addons.test_streams import Finder, streaming

TRAILERS = b"X-Sum: 1\r\nGrpc-Message: so bad\r\n"


def fields(value: str = "so bad") -> Headers:
    return Headers([(b"X-Sum", b"1"), (b"Grpc-Message", value.encode())])


async def ended(place: Place, made: HTTPFlow, notes: TaskNotes, trailers: Headers) -> None:
    assert made.response is not None
    made.response.trailers = trailers
    if (pending := place.adapt.response(made)) is not None:
        await pending
    Finish(lambda _: None, lambda _: None).flow(made, notes)


async def held(place: Place, trailers: Headers) -> tuple[HTTPFlow, TaskNotes]:
    made = flow()
    notes = task(made)
    answered(made, body=b"12345").headers.pop("content-length")
    place.adapt.responseheaders(made)
    await ended(place, made, notes, trailers)
    return made, notes


@pytest.mark.security
@pytest.mark.parametrize(("value", "passes"), [("fine", True), ("so bad", False)])
async def test_c7_behind_a_body_that_is_held_they_are_judged_before_either_goes_on(value: str, passes: bool) -> None:
    place = Place(service := Finder())  # type: ignore[arg-type]
    made, notes = await held(place, fields(value))
    assert service.shown == [b"12345", TRAILERS.replace(b"so bad", value.encode())]
    assert made.response is not None
    assert (is_ours(made), bool(made.response.trailers)) == (not passes, passes)
    size = 5 + len(service.shown[1])
    assert notes.reason is (Reason.OK if passes else Reason.MALWARE_FOUND)
    assert not passes or coverage(notes) == {"response: scanned": size}


@pytest.mark.security
async def test_c7_behind_a_body_that_has_gone_out_the_stream_is_broken_off() -> None:
    place = Place(Finder())  # type: ignore[arg-type]
    made, notes = streaming(place, "application/grpc")
    made.live = True
    assert made.response is not None
    made.response.stream = True
    judge = made.metadata["arcus.judge.response"]
    reader = judge.reader()
    await judge.judge_all(list(reader.read(b"\0\0\0\0\4fine")))
    judge.passed(9)
    await ended(place, made, notes, fields())
    assert made.error is not None
    assert (notes.reason, notes.status, coverage(notes)) == (Reason.MALWARE_FOUND, 200, {"response: scanned": 9})
    assert made.response is not None
    assert not made.response.trailers


@pytest.mark.parametrize(("policy", "left"), [("pass", True), ("strip", False)])
async def test_c7_without_a_scan_they_pass_and_are_counted_or_are_left_out(policy: str, left: bool) -> None:
    place = Place(service := Finder(), trailers=policy)  # type: ignore[arg-type]
    made, notes = await held(place, fields())
    assert made.response is not None
    assert (bool(made.response.trailers), service.shown) == (left, [b"12345"])
    assert notes.not_scanned == (["response: trailers"] if left else [])
    expected = {"response: scanned": 5} | ({"response: not_scanned trailers": len(TRAILERS)} if left else {})
    assert coverage(notes) == expected


async def test_c7_where_nobody_judges_the_body_nobody_judges_them() -> None:
    made, notes = await held(Place(None), fields())
    assert made.response is not None
    assert bool(made.response.trailers)
    assert notes.unscanned_bytes["response: trailers"] == len(TRAILERS)


@pytest.mark.security
@pytest.mark.parametrize(("policy", "reason"), [("block", Reason.ICAP_UNREACHABLE), ("bypass", Reason.OK)])
async def test_c7_a_scan_of_them_that_fails_follows_the_policy_of_the_service(policy: str, reason: Reason) -> None:
    clean = Adapted(verdict("RESPMOD"))
    failed = Adapted(verdict("RESPMOD", Outcome.ERROR, Reason.ICAP_UNREACHABLE, size=len(TRAILERS)))
    made, notes = await held(Place(Service(clean, failed), icap_on_error=policy), fields())
    assert (notes.reason, is_ours(made)) == (reason, reason is not Reason.OK)
    assert reason is not Reason.OK or notes.unscanned_bytes == {"response: scan_failed": len(TRAILERS)}


@pytest.mark.security
@pytest.mark.parametrize("value", ["fine", "so bad"])
async def test_c7_of_a_request(value: str) -> None:
    place: Any = Place(Finder())  # type: ignore[arg-type]
    made = flow("POST", body=b"body")
    notes = task(made)
    place.adapt.requestheaders(made)
    made.request.trailers = fields(value)
    await place.adapt.request(made)
    assert (is_ours(made), notes.reason is Reason.OK) == (value != "fine", value == "fine")


@pytest.mark.security
async def test_c7_of_a_request_that_has_gone_on_they_are_left_out() -> None:
    place: Any = Place(Finder())  # type: ignore[arg-type]
    made = flow("POST", headers={"Content-Type": "application/grpc"})
    task(made)
    await place.adapt.requestheaders(made)
    made.request.trailers = fields()
    await place.adapt.request(made)
    assert (made.request.trailers, made.response) == (None, None)
