"""Trailers (RFC 9110 section 6.5): fields that come behind a body, judged before they go on."""

from mitmproxy.http import Headers, HTTPFlow, Request, Response

from addons.icap_message import unit_message
from addons.scanning import Scanning, skip, write_down
from addons.settlement import Settlement
from appliance.domain.not_scanned import NotScanned
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome
from appliance.policy.scan_rules import Direction
from icap.client import Service


def text_of(trailers: Headers) -> bytes:
    """As they stand in HTTP/1: what a service is shown, and what is counted."""
    return b"".join(b"%b: %b\r\n" % item for item in trailers.fields)


async def settle_trailers(
    flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, settlement: Settlement, side: Direction, service: Service | None
) -> None:
    """By the policy of the auditor. ``service``: who judges the body; None: nobody does, and its word is said already."""
    message: Request | Response | None = flow.request if side == "request" else flow.response
    if message is None or not message.trailers:
        return
    policy, gone = scanning.auditor.trailers, service is not None and side == "request" and message.stream
    if policy == "strip" or gone:  # the server has the body already, and nothing could stand in its place
        message.trailers = None
        return
    text = text_of(message.trailers)
    if service is None or policy == "pass":
        skip(notes, side, NotScanned.TRAILERS, len(text))
    elif not await _clean(flow, notes, scanning, settlement, side, service, text):
        return
    _count(notes, message, side, len(text))


async def _clean(
    flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, settlement: Settlement, side: Direction, service: Service, text: bytes
) -> bool:
    """Have them judged. False: the message was stopped, as far as it has not gone out."""
    adapted = await service.adapt(unit_message(flow, scanning, text, "text/plain", side))
    for each in adapted.verdicts:
        settlement.count(each)
    verdict = write_down(adapted, notes, len(text), "trailers")
    if verdict.outcome is Outcome.BLOCKED:
        settlement.keep(flow, notes, verdict, side, text)
    if verdict.outcome in (Outcome.BLOCKED, Outcome.ERROR):
        _stop(flow, notes, settlement, side, (verdict.reason, verdict.signature or verdict.detail))
        return False
    if adapted.kind != "unmodified" and adapted.body != text:
        _stop(flow, notes, settlement, side, (Reason.ICAP_BLOCKED, "the service changed trailers"))
        return False
    return True


def _stop(flow: HTTPFlow, notes: TaskNotes, settlement: Settlement, side: Direction, why: tuple[Reason, str]) -> None:
    if side == "request" or flow.response is None or not flow.response.stream:
        settlement.stop(flow, notes, why)
        return
    notes.fail(*why)
    notes.status = flow.response.status_code
    notes.by_unit.add(side)  # the body was judged and is with the client: what was stopped is in no counter
    flow.response.trailers = None
    flow.kill()


def _count(notes: TaskNotes, message: Request | Response, side: Direction, size: int) -> None:
    """Add them to what was transferred."""
    name = f"{side}_bytes"
    body = getattr(notes, name) or len(message.raw_content or b"")
    setattr(notes, name, body + size)
