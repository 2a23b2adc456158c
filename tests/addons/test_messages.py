"""Messages of a stream: who judges each, and what becomes of it (C7)."""

from dataclasses import replace
from typing import Any

import pytest
from mitmproxy.http import HTTPFlow

from addons.carry import is_ours
from addons.record import Record
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome
from appliance.engine.messages import JUDGES, Refusal, Unit
from icap.client import Adapted, Message
from tests.addons.flows import answered, flow, task
from tests.addons.test_adapt import URI, Place, Service, verdict

SCAN = {"websocket": "scan", "max_message_size": 100}


def unit(data: bytes, **more: Any) -> Unit:
    return Unit(b"\x82" + data, data, **more)


async def upgraded(place: Place, extensions: str = "") -> tuple[HTTPFlow, TaskNotes]:
    made = flow()
    notes = task(made)
    place.adapt.requestheaders(made)
    fields = {"Upgrade": "websocket"} | ({"Sec-WebSocket-Extensions": extensions} if extensions else {})
    answered(made, 101, b"", fields)
    await place.response(made)
    return made, notes


class Away:
    async def adapt(self, message: Message) -> Adapted:
        return Adapted(verdict(message.method, Outcome.ERROR, Reason.ICAP_UNREACHABLE, size=len(message.body or b"")))  # type: ignore[arg-type]


async def test_c7_each_direction_goes_to_its_own_method() -> None:
    place = Place(service := Service(), **SCAN)
    made, notes = await upgraded(place)
    assert await made.metadata[JUDGES[True]].judge(unit(b"up", text=True)) is None
    assert await made.metadata[JUDGES[False]].judge(unit(b"down")) is None
    up, down = service.shown
    assert (up.method, up.body, down.method, down.body) == ("REQMOD", b"up", "RESPMOD", b"down")
    assert up.request_head.startswith(b"POST http://example.test/path?q=1 HTTP/1.1\r\n")
    assert b"text/plain" in up.request_head
    assert down.response_head is not None
    assert b"application/octet-stream" in down.response_head
    assert (notes.scanned_bytes, notes.not_scanned) == ({"request": 3, "response": 5}, [])


@pytest.mark.parametrize(("given", "method"), [("reqmod", "REQMOD"), ("respmod", "RESPMOD")])
async def test_c7_where_a_direction_has_no_service_the_other_s_judges(given: str, method: str) -> None:
    place = Place(None, **SCAN, **{f"icap_{given}_service": URI})
    made, _ = await upgraded(place)
    for judge in JUDGES.values():
        assert await made.metadata[judge].judge(unit(b"x")) is None
    assert [each.method for each in place.counted] == [method, method]


async def test_c7_a_rule_that_lets_pass_is_no_lack_of_a_service() -> None:
    rules = [{"name": "free", "use": "none", "direction": "request"}]
    made, notes = await upgraded(Place(Service(), icap_rules=rules, **SCAN))
    assert [judge in made.metadata for judge in JUDGES.values()] == [False, True]
    assert "request: rule free" in notes.not_scanned


@pytest.mark.security
async def test_c7_an_infected_message_is_refused_and_recorded() -> None:
    blocked = verdict("REQMOD", Outcome.BLOCKED, Reason.MALWARE_FOUND, signature="Eicar")
    made, notes = await upgraded(Place(Service(Adapted(blocked)), **SCAN))
    assert await made.metadata[JUDGES[True]].judge(unit(b"x")) == Refusal(1008, "malware_found: Eicar")
    assert (notes.reason, notes.detail, notes.scans) == (Reason.MALWARE_FOUND, "Eicar", [replace(blocked, of="message")])


@pytest.mark.security
async def test_c7_a_message_that_the_service_changed_is_refused() -> None:
    changed = Adapted(verdict("REQMOD", Outcome.MODIFIED), "request", b"POST / HTTP/1.1\r\n\r\n", b"other")
    made, _ = await upgraded(Place(Service(changed), **SCAN))
    refusal = await made.metadata[JUDGES[True]].judge(unit(b"x"))
    assert refusal is not None
    assert refusal.code == 1008


@pytest.mark.parametrize(("policy", "passes"), [("block", False), ("bypass", True)])
async def test_c7_a_scan_that_fails_follows_the_configuration(policy: str, passes: bool) -> None:
    place = Place(Away(), icap_on_error=policy, **SCAN)  # type: ignore[arg-type]
    made, notes = await upgraded(place)
    refusal = await made.metadata[JUDGES[True]].judge(unit(b"12345"))
    assert (refusal is None) is passes
    assert notes.unscanned_bytes == ({"request: scan_failed": 6} if passes else {})
    assert notes.scanned_bytes == {}


@pytest.mark.parametrize(("policy", "code"), [("block", 1009), ("bypass", None), ("head", None)])
async def test_c7_larger_than_a_message_may_be(policy: str, code: int | None) -> None:
    place = Place(service := Service(), oversize=policy, **SCAN)
    made, notes = await upgraded(place)
    judge = made.metadata[JUDGES[False]]
    refusal = await judge.judge(unit(b"x" * 150, whole=False, last=False))
    assert (refusal.code if refusal else None) == code
    if code is None:
        judge.follow(unit(b"y" * 50, rest=True))
    expected = {"block": {}, "bypass": {"response: too_large": 202}, "head": {"response: head_only": 101}}
    assert notes.unscanned_bytes == expected[policy]
    assert [len(each.body) for each in service.shown] == ([100] if policy == "head" else [])  # type: ignore[arg-type]


async def test_c7_of_a_thousand_messages_the_record_has_the_first_and_the_metrics_all() -> None:
    place = Place(Service(), **SCAN)
    made, notes = await upgraded(place)
    for number in range(1000):
        await made.metadata[JUDGES[True]].judge(unit(str(number).encode()))
    assert (len(notes.scans), len(place.counted)) == (1, 1000)


@pytest.mark.security
@pytest.mark.parametrize(("policy", "stopped"), [("block", True), ("bypass", False)])
async def test_c7_extensions_that_nobody_knows(policy: str, stopped: bool) -> None:
    made, notes = await upgraded(Place(Service(), content_codings={"undecodable": policy}, **SCAN), "x-other")
    assert (is_ours(made), notes.reason is Reason.NOT_SCANNABLE) == (stopped, stopped)
    assert not any(judge in made.metadata for judge in JUDGES.values())
    assert stopped or "request: undecodable" in notes.not_scanned


@pytest.mark.security
@pytest.mark.parametrize(("policy", "passes"), [("block", False), ("bypass", True)])
async def test_c7_a_message_that_does_not_unpack(policy: str, passes: bool) -> None:
    place = Place(service := Service(), content_codings={"undecodable": policy}, **SCAN)
    made, notes = await upgraded(place, "permessage-deflate")
    refusal = await made.metadata[JUDGES[True]].judge(unit(b"\xff\xff", packed=True))
    assert (refusal is None) is passes
    assert notes.unscanned_bytes == ({"request: undecodable": 3} if passes else {})
    assert service.shown == []


@pytest.mark.parametrize(("setting", "said"), [("scan", []), ("bypass", ["websocket"])])
async def test_c7_what_nobody_judges_is_said(setting: str, said: list[str]) -> None:
    made, notes = await upgraded(Place(Service(), websocket=setting))
    made.websocket = made.websocket or object()  # type: ignore[assignment]
    Record(None).response(made)  # type: ignore[arg-type]
    assert [each for each in notes.not_scanned if "websocket" in each] == said
