"""How a tenant's traffic is scanned, and what is decided about a message before its body is here."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mitmproxy.http import HTTPFlow, Request, Response
from mitmproxy.http import Message as HttpMessage

from addons.coding import to_undo
from addons.decoding import Bounds, Decoder, Undecodable
from appliance.config.auditor import Auditor
from appliance.domain.not_scanned import NotScanned
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from appliance.policy.scan_rules import Direction, ScanRoute, ScanRules
from icap.client import Adapted, Service

_ENDLESS = frozenset(("text/event-stream", "multipart/x-mixed-replace"))

type Stop = tuple[Reason, str]
"""Why a message goes no further, and the detail for its record."""


@dataclass(frozen=True, slots=True)
class Scanning:
    """How one tenant's traffic is scanned."""

    auditor: Auditor
    rules: ScanRules
    services: Mapping[tuple[str, Direction], Service]
    """By what the rules name, and for which direction."""


def sampled(notes: TaskNotes, auditor: Auditor) -> bool:
    """One choice for a whole client connection, so that a page is not scanned in part."""
    if auditor.application_audit_ratio >= 1.0:
        return True
    return zlib.crc32(notes.conn.conn_id.encode()) / 0xFFFFFFFF < auditor.application_audit_ratio


def refused(flow: HTTPFlow, notes: TaskNotes, auditor: Auditor, message: Request | Response) -> Stop | None:
    """What its head says cannot be scanned: stopped, or passed (the message then streams)."""
    if _has_body(flow, message) and (why := _not_undone(message, auditor)):
        if auditor.content_codings.undecodable == "block":
            return Reason.NOT_SCANNABLE, why
        pass_unscanned(notes, message, NotScanned.UNDECODABLE)
        return None
    length = message.headers.get("content-length", "")
    if flow.request.method != "HEAD" and length.isdigit() and int(length) > auditor.max_scan_size:
        if auditor.oversize == "block":
            return Reason.BODY_TOO_LARGE, f"{length} bytes, limit {auditor.max_scan_size}"
        if auditor.oversize == "bypass":
            pass_unscanned(notes, message, NotScanned.TOO_LARGE)
    return None


def decoder(message: HttpMessage, auditor: Auditor) -> Decoder | None:
    """What undoes a message's codings for its scan; None where scanners do. Raises Undecodable."""
    limits = auditor.content_codings
    codings = to_undo(message.headers, gzip=limits.gzip == "unpacked")
    return Decoder(codings, Bounds(limits.max_size, limits.max_ratio, limits.max_depth)) if codings else None


def _not_undone(message: HttpMessage, auditor: Auditor) -> str:
    try:
        decoder(message, auditor)
    except Undecodable as error:
        return str(error)
    return ""


def endless(notes: TaskNotes, auditor: Auditor, message: Request | Response, kind: str) -> Stop | None:
    """A message without an end cannot be held."""
    if auditor.event_stream == "block":
        return Reason.NOT_SCANNABLE, kind
    pass_unscanned(notes, message, NotScanned.STREAMED)
    return None


def has_no_end(kind: str, auditor: Auditor) -> bool:
    """By its media type. A call of gRPC may have an end, so it is held unless such messages may pass. What states its length is
    judged as other bodies are, where streams are judged at all (``addons.streams``)."""
    if auditor.event_stream == "scan":
        return False
    return kind in _ENDLESS or (kind.startswith("application/grpc") and auditor.event_stream == "bypass")


def part(notes: TaskNotes, auditor: Auditor, response: Response) -> Stop | None:
    """A part of a resource (206): scanned alone, or stopped."""
    if response.status_code != 206:
        return None
    if auditor.ranges != "pass":
        return Reason.NOT_SCANNABLE, "206, a part of a resource"
    skip(notes, "response", NotScanned.PART)
    return None


def media_type(message: Request | Response) -> str:
    return str(message.headers.get("content-type", "")).partition(";")[0].strip().lower()


def pass_unscanned(notes: TaskNotes, message: Request | Response, why: NotScanned, detail: str = "") -> None:
    """Stream the body past the scanner, and say so in the record."""
    message.stream = _unscanned(notes, "request" if isinstance(message, Request) else "response", why, detail)


def reason_of(route: ScanRoute) -> tuple[NotScanned, str]:
    """Why a message is not scanned whose route leads to no service, or whose connection was not sampled."""
    if route.use:
        return NotScanned.NOT_SAMPLED, ""
    word, _, detail = route.not_scanned.partition(" ")
    return next(each for each in NotScanned if each.word == word), detail


def write_down(adapted: Adapted, notes: TaskNotes, size: int | None = None, of: str = "") -> ScanVerdict:
    """Put the verdict of each service that was asked into the notes; the one that counts. ``size``: bytes of the body, where
    the service was shown it unpacked. ``of``: see ``ScanVerdict``."""
    for verdict in adapted.verdicts:
        side = _side(verdict)
        if verdict.outcome is Outcome.BYPASSED:
            skip(notes, side, NotScanned.SCAN_FAILED)
        elif verdict.outcome is Outcome.SKIPPED:
            skip(notes, side, NotScanned.SKIPPED)
        if verdict.unscanned:
            skip(notes, side, NotScanned.ENCRYPTED, detail=_inside(verdict))
        notes.scans.append(replace(verdict, of=of) if of else verdict)
        notes.step(f"icap_{verdict.method.lower()}", verdict.ms / 1000)
    weigh(adapted.verdict, notes, adapted.verdict.size if size is None else size, _side(adapted.verdict))
    return adapted.verdict


def weigh(verdict: ScanVerdict, notes: TaskNotes, size: int, side: str) -> None:
    """Count the bytes by what became of them."""
    if verdict.outcome is Outcome.BYPASSED:
        skip(notes, side, NotScanned.SCAN_FAILED, size)
    elif verdict.outcome is Outcome.SKIPPED:
        skip(notes, side, NotScanned.SKIPPED, size)
    elif verdict.unscanned:
        skip(notes, side, NotScanned.ENCRYPTED, size, _inside(verdict))
    elif verdict.outcome is not Outcome.ERROR and size:
        notes.scanned_bytes[side] = notes.scanned_bytes.get(side, 0) + size


def _inside(verdict: ScanVerdict) -> str:
    """What our own server says beyond the usual word."""
    return "" if verdict.unscanned == NotScanned.ENCRYPTED.word else verdict.unscanned


def _side(verdict: ScanVerdict) -> str:
    return "request" if verdict.method == "REQMOD" else "response"


def skip(notes: TaskNotes, side: str, why: NotScanned, size: int = 0, detail: str = "") -> None:
    """Say in the record that bytes of ``request`` or ``response`` go on unjudged."""
    key = f"{side}: {why.word}"
    text = f"{key} {detail}" if detail else key
    if text not in notes.not_scanned:
        notes.not_scanned.append(text)
    if size:
        notes.unscanned_bytes[key] = notes.unscanned_bytes.get(key, 0) + size


def _unscanned(notes: TaskNotes, side: str, why: NotScanned, detail: str) -> Callable[[bytes], bytes]:
    """Note it, and give the stream function that counts what it passes."""
    skip(notes, side, why, detail=detail)
    field, key, unscanned = f"{side}_bytes", f"{side}: {why.word}", notes.unscanned_bytes

    def count(data: bytes) -> bytes:
        if data:
            setattr(notes, field, getattr(notes, field) + len(data))
            unscanned[key] = unscanned.get(key, 0) + len(data)
        return data

    return count


def _has_body(flow: HTTPFlow, message: Request | Response) -> bool:
    """Whether octets of a body can follow; the answer to HEAD only describes one."""
    if isinstance(message, Response) and (flow.request.method == "HEAD" or message.status_code in (204, 304)):
        return False
    return str(message.headers.get("content-length", "")) != "0"
