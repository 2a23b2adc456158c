"""How a tenant's traffic is scanned, and what is decided about a message before its body is here."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mitmproxy.http import HTTPFlow, Request, Response

from addons.carry import limit_body
from addons.coding import unscannable
from appliance.config.auditor import Auditor
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from appliance.policy.scan_rules import Direction, ScanRules
from icap.client import Adapted, Service

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


def hold(flow: HTTPFlow, notes: TaskNotes, auditor: Auditor, message: Request | Response) -> Stop | None:
    """Hold the body for the scan; when its length is known to be too much, or its coding not readable, decide now."""
    if (coding := unscannable(message.headers)) and _has_body(flow, message):
        return Reason.NOT_SCANNABLE, f"Content-Encoding {coding}"
    length = message.headers.get("content-length", "")
    if flow.request.method != "HEAD" and length.isdigit() and int(length) > auditor.max_scan_size:
        if auditor.oversize == "block":
            return Reason.BODY_TOO_LARGE, f"{length} bytes, limit {auditor.max_scan_size}"
        pass_unscanned(notes, message, "too_large")
    else:
        limit_body(flow, auditor.max_scan_size, auditor.oversize, lambda kind: _unscanned(notes, kind, "too_large"))
    return None


def endless(notes: TaskNotes, auditor: Auditor, response: Response) -> Stop | None:
    """An answer without an end cannot be held."""
    if auditor.event_stream == "block":
        return Reason.NOT_SCANNABLE, "text/event-stream"
    pass_unscanned(notes, response, "streamed")
    return None


def pass_unscanned(notes: TaskNotes, message: Request | Response, why: str) -> None:
    """Stream the body past the scanner, and say so in the record."""
    message.stream = _unscanned(notes, "request" if isinstance(message, Request) else "response", why)


def write_down(adapted: Adapted, notes: TaskNotes) -> ScanVerdict:
    """Put the verdict of each service that was asked into the notes; the one that counts."""
    for verdict in adapted.verdicts:
        kind = "request" if verdict.method == "REQMOD" else "response"
        if verdict.outcome is Outcome.BYPASSED:
            notes.not_scanned.append(f"{kind}: {verdict.reason.word}")
        elif verdict.outcome is Outcome.SKIPPED:
            notes.not_scanned.append(f"{kind}: skipped")
        if verdict.unscanned:
            notes.not_scanned.append(f"{kind}: {verdict.unscanned}")
        notes.scans.append(verdict)
        notes.step(f"icap_{verdict.method.lower()}", verdict.ms / 1000)
    return adapted.verdict


def counter(notes: TaskNotes, field: str) -> Callable[[bytes], bytes]:
    """A stream function that counts the bytes it passes."""

    def count(data: bytes) -> bytes:
        setattr(notes, field, getattr(notes, field) + len(data))
        return data

    return count


def _unscanned(notes: TaskNotes, kind: str, why: str) -> Callable[[bytes], bytes]:
    """Note it, and give the stream function; ``kind`` is ``request`` or ``response``."""
    notes.not_scanned.append(f"{kind}: {why}")
    return counter(notes, f"{kind}_bytes")


def _has_body(flow: HTTPFlow, message: Request | Response) -> bool:
    """Whether octets of a body can follow; the answer to HEAD only describes one."""
    if isinstance(message, Response) and (flow.request.method == "HEAD" or message.status_code in (204, 304)):
        return False
    return str(message.headers.get("content-length", "")) != "0"
