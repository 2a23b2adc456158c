"""Bodies without an end that are scanned unit by unit: which they are, and how their units are found."""

from collections.abc import Callable
from dataclasses import replace
from email.message import Message as MimeMessage
from typing import Final

from mitmproxy.http import HTTPFlow, Request, Response

from addons.coded_units import Base64, CodedUnits, Codings, Undo
from addons.coding import UNIT_CODINGS
from addons.decoding import Bounds, Undecodable
from addons.messages import METHODS, Asked, Means
from addons.scanning import Scanning, Stop, media_type, pass_unscanned
from addons.stream_judge import Kind, StreamJudge
from addons.unit_views import as_it_is, of_protobuf
from appliance.config.auditor import Auditor
from appliance.domain.not_scanned import NotScanned
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.engine.messages import JUDGES, PAUSING, UnitReader, past_its_judge
from appliance.engine.units.envelopes import EnvelopeReader
from appliance.engine.units.events import EventReader
from appliance.engine.units.lines import LineReader
from appliance.engine.units.parts import PartReader
from appliance.engine.units.pauses import PauseReader
from appliance.engine.units.texts import TextReader
from appliance.policy.scan_rules import Direction

_LINES: Final = frozenset(
    (
        "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-seq",
        "application/stream+json",
    )
)  # fmt: skip
_TEXTS: Final = _LINES | {"text/event-stream"}
_ENVELOPES: Final = (("application/grpc", "grpc-encoding"), ("application/connect+", "connect-content-encoding"))
_NO_LIMIT: Final = 1 << 62
"""Of what a stream unpacks to from its beginning to its end: each unit has a limit of its own."""


def judged_by_unit(flow: HTTPFlow, auditor: Auditor, message: Request | Response) -> bool:
    """Whether a message is such a stream. One that states its length has an end, and is a body like others; so is what is
    meant to be kept as a file. Of requests only calls go on before they are complete."""
    asks = message is flow.request
    if auditor.event_stream != "scan" or (asks and flow.request.method != "POST") or "content-length" in message.headers:
        return False
    kind = media_type(message)
    if isinstance(message, Request):
        return _is_envelopes(kind)
    other = flow.request.method == "HEAD" or message.status_code in (101, 204, 206, 304)
    if other or "content-disposition" in message.headers:
        return False
    return kind == "multipart/x-mixed-replace" or ((_is_envelopes(kind) or kind in _TEXTS) and not _navigates(flow.request))


def _is_envelopes(kind: str) -> bool:
    return any(kind.startswith(start) for start, _ in _ENVELOPES)


def _navigates(request: Request) -> bool:
    """A browser that goes there would keep the body as a file: what it is called is no reason to take it apart."""
    return str(request.headers.get("sec-fetch-mode", "")).lower() == "navigate"


def judge_units(
    flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, side: Direction, use: str, means: Means, page: Callable[[], None]
) -> Stop | None:
    """Leave a judge on the flow, and have the body stream through it; or say why it cannot be read."""
    message: Request | Response | None = flow.request if side == "request" else flow.response
    if message is None:
        return None
    try:
        kind = _kind_of(message, scanning.auditor)
    except Undecodable as error:
        if scanning.auditor.content_codings.undecodable == "block":
            return Reason.NOT_SCANNABLE, str(error)
        pass_unscanned(notes, message, NotScanned.UNDECODABLE)
        return None
    asked = Asked(scanning.services[use, side], METHODS[side])
    flow.metadata[JUDGES[side == "request"]] = StreamJudge(flow, notes, scanning, asked, side, means, kind, page)
    message.stream = past_its_judge
    return None


def judge_when_it_pauses(
    flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, use: str, means: Means, page: Callable[[], None]
) -> None:
    """Leave a judge on a flow whose answer is held, for the case that it has no end, where the auditor says so."""
    pause, response = scanning.auditor.stream_units.pause, flow.response
    if pause is None or response is None or "content-length" in response.headers or flow.request.method == "HEAD":
        return
    shown_as = response.headers.get("content-type", "application/octet-stream")
    kind = _whole(Kind(shown_as, PauseReader, as_it_is, pause=pause), response, scanning.auditor)
    asked = Asked(scanning.services[use, "response"], METHODS["response"])
    flow.metadata[PAUSING] = StreamJudge(flow, notes, scanning, asked, "response", means, kind, page)


def _kind_of(message: Request | Response, auditor: Auditor) -> Kind:
    """Raises Undecodable."""
    name = media_type(message)
    pause = auditor.stream_units.pause
    if name == "text/event-stream":
        kind = Kind("text/plain; charset=utf-8", lambda limit: TextReader(EventReader(limit)), as_it_is, pause=pause)
    elif name in _LINES:
        kind = Kind("application/json", lambda limit: TextReader(LineReader(limit)), as_it_is, pause=pause)
    elif name == "multipart/x-mixed-replace":
        boundary = _boundary(message)
        kind = Kind("application/octet-stream", lambda limit: PartReader(boundary, limit), as_it_is, pause=pause)
    else:
        say = as_it_is if name.endswith("+json") else of_protobuf
        kind = Kind("application/octet-stream", EnvelopeReader, say, _unit_coding(message, name))
    return _whole(kind, message, auditor)


def _whole(kind: Kind, message: Request | Response, auditor: Auditor) -> Kind:
    """With what is packed around it. Raises Undecodable."""
    undo = _undone(message, media_type(message), auditor)
    return kind if undo is None else replace(kind, reader=_coded(kind.reader, undo))


def _coded(inner: Callable[[int], UnitReader], undo: Undo) -> Callable[[int], UnitReader]:
    return lambda limit: CodedUnits(inner(limit), undo, limit)


def _undone(message: Request | Response, name: str, auditor: Auditor) -> Undo | None:
    """What undoes the codings of the body as a whole."""
    codings = [each.strip().lower() for value in message.headers.get_all("content-encoding") for each in value.split(",")]
    codings = [each for each in codings if each and each != "identity"]
    limits = auditor.content_codings
    if codings:
        return Codings(codings, Bounds(_NO_LIMIT, limits.max_ratio, limits.max_depth))
    return Base64() if name.startswith("application/grpc-web-text") else None


def _unit_coding(message: Request | Response, name: str) -> str:
    field = next(field for start, field in _ENVELOPES if name.startswith(start))
    coding: str = message.headers.get(field, "identity").strip().lower()
    if coding.encode() not in UNIT_CODINGS:
        raise Undecodable(f"{field} {coding[:32]}")
    return coding


def _boundary(message: Request | Response) -> bytes:
    """RFC 2046 section 5.1.1."""
    parsed = MimeMessage()
    parsed["content-type"] = message.headers.get("content-type", "")
    value = parsed.get_param("boundary")
    if not isinstance(value, str) or not value.strip() or len(value) > 200:
        raise Undecodable("multipart without a boundary")
    return value.strip().encode("latin-1", "replace")
