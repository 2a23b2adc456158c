"""From audit events to what was delivered, and to what scanners call bad. Events are our own, but hold what others say."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from appliance.domain.not_scanned import NotScanned
from appliance.domain.reason import Reason
from appliance.domain.retro import Delivery, Finding, Limit, Verdict

type Event = Mapping[str, Any]

_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")
_SIDES: Final = {"REQMOD": "request", "RESPMOD": "response"}
_VERDICTS: Final = {
    "clean": Verdict.CLEAN, "modified": Verdict.CLEAN, "bypassed": Verdict.UNSCANNED, "skipped": Verdict.UNSCANNED,
}  # fmt: skip
_LIMITS: Final = {
    NotScanned.HEAD_ONLY.word: Limit.HEAD_ONLY, NotScanned.PART.word: Limit.PART, NotScanned.ENCRYPTED.word: Limit.ENCRYPTED,
}  # fmt: skip
SEEN: Final = (
    "id", "kind", "tenant_id", "user_id", "source_ip", "destination_host", "url", "action", "reason", "status",
    "upstream_status", "created_at", "started_at", "scans", "not_scanned", "packed", "samples",
)  # fmt: skip
"""All that is looked at of an event."""
_URL: Final = 1000
_TEXT: Final = 2048
_MAX_SIZE: Final = 1 << 50


def deliveries(event: Event) -> Iterator[Delivery]:
    """The bodies that a task let pass and whose hash is known: at most one for each direction. Of several services that one
    body went through the last one counts. Messages of a WebSocket are no bodies of their own, and none of them is here."""
    if event.get("kind") != "request" or not _text(event, "tenant_id"):
        return
    last = {_SIDES[scan["method"]]: scan for scan in _scans(event)}
    for side, scan in last.items():
        if _text(scan, "outcome") in _VERDICTS and _passed(event, side):
            yield _delivery(event, scan, side)


def finding(event: Event) -> Finding | None:
    """What a scanner called malware, wherever it was: the same body may have been delivered before."""
    if event.get("reason") != Reason.MALWARE_FOUND.word:
        return None
    for scan in _scans(event):
        if scan.get("outcome") == "blocked" and scan.get("reason") == Reason.MALWARE_FOUND.word:
            signature, by = _text(scan, "signature"), _text(scan, "service")[:300]
            return Finding(
                _text(event, "tenant_id"), scan["sha256"], signature, by, _text(scan, "engine"), _number(event, "created_at")
            )
    return None


def _delivery(event: Event, scan: Event, side: str) -> Delivery:
    at = _number(event, "created_at")
    return Delivery(
        tenant=_text(event, "tenant_id"),
        sha256=scan["sha256"],
        size=int(_number(scan, "size")),
        task=_text(event, "id", 26),
        at=at,
        side=side,
        user=_text(event, "user_id", 255),
        client=_text(event, "source_ip", 45),
        host=_text(event, "destination_host", 255),
        url=_text(event, "url", _URL),
        verdict=_VERDICTS[scan["outcome"]],
        service=_text(scan, "service"),
        engine=_text(scan, "engine"),
        istag=_text(scan, "istag"),
        # the verdict was made after the task began, and a long one may have ended much later
        judged_at=(_number(event, "started_at") or at) - _number(scan, "age_s"),
        limits=_limits(event, scan, side),
        sample=_sample(event, side),
    )


def _passed(event: Event, side: str) -> bool:
    """A request was on its way to the server before its answer could be stopped."""
    if side == "request" and _number(event, "upstream_status"):
        return True
    return event.get("action") == "allow" and bool(event.get("status"))


def _limits(event: Event, scan: Event, side: str) -> tuple[Limit, ...]:
    found = [
        _LIMITS[word]
        for text in _list(event, "not_scanned")
        if text.startswith(f"{side}: ") and (word := text[len(side) + 2 :].partition(" ")[0]) in _LIMITS
    ]
    if scan["outcome"] == "modified":
        found.append(Limit.MODIFIED)
    if side in _list(event, "packed"):
        found.append(Limit.PACKED)
    return tuple(sorted(found)) if found else ()


def _sample(event: Event, side: str) -> str:
    samples = event.get("samples")
    text = samples.get(side) if isinstance(samples, Mapping) else None
    return text if isinstance(text, str) and re.fullmatch("[0-9a-f]{32}", text) else ""


def _scans(event: Event) -> Iterator[dict[str, Any]]:
    """Those of bodies whose hash is known: not of what was still arriving when the service had made up its mind, nor of
    messages of streams and trailers."""
    scans = event.get("scans")
    for scan in scans if isinstance(scans, list) else ():
        if (
            isinstance(scan, dict)
            and not scan.get("of")
            and _text(scan, "method") in _SIDES
            and _SHA256.match(str(scan.get("sha256") or ""))
        ):
            yield scan


def _list(event: Event, name: str) -> list[str]:
    value = event.get(name)
    return [each for each in value if isinstance(each, str)] if value and isinstance(value, list) else []


def _text(event: Event, name: str, most: int = _TEXT) -> str:
    """A lone surrogate is no UTF-8, and the database refuses it."""
    value = event.get(name)
    if not isinstance(value, str):
        return ""
    return value[:most] if value.isascii() else value[:most].encode("utf-8", "replace").decode()


def _number(event: Event, name: str) -> float:
    value = event.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MAX_SIZE else 0.0
