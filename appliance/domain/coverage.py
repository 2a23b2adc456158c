"""What of a task was inspected: each of its bytes in exactly one bucket.

Counted are the octets of a task's transport counters, ``request_bytes`` and ``response_bytes``: of HTTP the bodies as they
were received from the client and as they were sent to it, of relays and WebSockets everything that was relayed. Heads of
messages, TLS records and handshakes are in no task's counters. The buckets of a side are made by dividing its counter, so their
sum is the counter, whatever else the notes say.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from appliance.domain.decision import TlsDecision
from appliance.domain.not_scanned import NotScanned
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from appliance.domain.words import Word

REQUEST, RESPONSE = "request", "response"


class Bucket(Word):
    """Where bytes can be. The word is the value; it stands in audit records, metrics and the ledger."""

    SCANNED = "scanned", "Decrypted, and judged by a service."
    NOT_SCANNED = "not_scanned", "Decrypted, and passed unjudged; the word of `not_scanned` says why."
    SPLICED = "spliced", "Relayed without decrypting, because the configuration says so."
    UNDECRYPTABLE = "undecryptable", "Relayed without decrypting, because decrypting is not possible."
    BLOCKED = "blocked", "Stopped: refused, found infected, or the task ended before they could go on."
    OWN = "own", "The appliance's own pages, answers of a service in place of a server, and what clients send to the portal."


NOT_INSPECTED: Final = frozenset({Bucket.NOT_SCANNED, Bucket.SPLICED, Bucket.UNDECRYPTABLE})
"""What passed without anybody having looked into it."""

SPLICES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "rule": "A decryption rule; `decrypt_rule` names it.",
        "default": "`default_action` of the tenant's decryption.",
        "splice_list": "A short list of hosts.",
        "exclusion": "An exclusion: of the configuration, added by a person, or learned.",
        "shipped": "The list of exclusions that comes with Arcus.",
        "no_interception": "The tenant decrypts nothing.",
        "no_sni": "The client names no server.",
        "upstream_certificates": "The server's certificate is bad, and the client is to judge it.",
    }
)
"""Why bytes were spliced."""
UNDECRYPTABLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unknown_protocol": "Neither TLS nor HTTP, and `unknown_protocol` is bypass.",
        "client_certificate": "The server asks for a certificate of the client.",
    }
)
"""Why bytes could not be decrypted."""

type Place = tuple[Bucket, str]
"""A bucket, and the word for why."""

_METHODS: Final = {REQUEST: "REQMOD", RESPONSE: "RESPMOD"}
_STOPPED: Final = frozenset({Outcome.BLOCKED, Outcome.ERROR})
_UNJUDGED: Final = (Bucket.NOT_SCANNED, NotScanned.UNJUDGED.word)
_FIXED: Final = frozenset({"no_interception", "no_sni", "splice_list"})


def coverage(notes: TaskNotes) -> dict[str, int]:
    """Bytes by ``DIRECTION: BUCKET WHY`` (no why for some buckets); only what is more than 0."""
    found: dict[str, int] = {}
    for side, size in ((REQUEST, notes.request_bytes), (RESPONSE, notes.response_bytes)):
        if size > 0:
            for place, part in _divide(notes, side, size):
                name = key(side, *place)
                found[name] = found.get(name, 0) + part
    return found


def key(direction: str, bucket: Bucket, why: str = "") -> str:
    return f"{direction}: {bucket.word} {why}" if why else f"{direction}: {bucket.word}"


@lru_cache(maxsize=256)
def parse(name: str) -> tuple[str, Bucket, str]:
    """The direction, bucket and why of a key. Raises ValueError for what is none."""
    direction, _, rest = name.partition(": ")
    bucket, _, why = rest.partition(" ")
    return direction, next(each for each in Bucket if each.word == bucket), why


def _divide(notes: TaskNotes, side: str, size: int) -> Iterator[tuple[Place, int]]:
    if notes.kind == "tunnel":
        yield _relayed(notes), size
        return
    if notes.portal or (side == RESPONSE and notes.own_answer):
        yield (Bucket.OWN, ""), size
        return
    left, last = size, _UNJUDGED
    for name, number in notes.unscanned_bytes.items():
        where, _, why = name.partition(": ")
        if where == side:
            last = (Bucket.NOT_SCANNED, why)
            part = min(left, max(0, number))
            left -= part
            if part:
                yield last, part
    if left:
        yield from _rest(notes, side, left, last)


def _rest(notes: TaskNotes, side: str, left: int, last: Place) -> Iterator[tuple[Place, int]]:
    """What did not go on unjudged. ``last``: where the bytes are that did."""
    scanned = notes.scanned_bytes.get(side, 0)
    if notes.kind == "websocket":  # a message that was stopped is in no counter: what is counted was relayed
        part = min(left, max(0, scanned))
        if part:
            yield (Bucket.SCANNED, ""), part
        if left > part:
            yield (Bucket.NOT_SCANNED, NotScanned.WEBSOCKET.word), left - part
    elif side in notes.by_unit:  # a unit that was stopped is in no counter either
        yield (Bucket.SCANNED, ""), left
    elif any(each.outcome in _STOPPED for each in _verdicts(notes, side)):
        yield (Bucket.BLOCKED, ""), left
    elif scanned:
        yield (Bucket.SCANNED, ""), left
    else:
        yield (last if last is not _UNJUDGED else _judged(notes, side)), left


def _judged(notes: TaskNotes, side: str) -> Place:
    """By the verdict alone: a service may pass a body at its preview, or at its head."""
    for verdict in reversed(list(_verdicts(notes, side))):
        if verdict.outcome is Outcome.BYPASSED:
            return Bucket.NOT_SCANNED, NotScanned.SCAN_FAILED.word
        if verdict.outcome is Outcome.SKIPPED:
            return Bucket.NOT_SCANNED, NotScanned.SKIPPED.word
        if verdict.outcome in (Outcome.CLEAN, Outcome.MODIFIED):
            return (Bucket.NOT_SCANNED, NotScanned.ENCRYPTED.word) if verdict.unscanned else (Bucket.SCANNED, "")
    if side == REQUEST and notes.reason is not Reason.OK:
        return Bucket.BLOCKED, ""  # nothing of a request goes on before its verdict
    return _UNJUDGED


def _verdicts(notes: TaskNotes, side: str) -> Iterator[ScanVerdict]:
    method = _METHODS[side]
    return (each for each in notes.scans if each.method == method)


def _relayed(notes: TaskNotes) -> Place:
    decision = notes.conn.tls_decision
    if notes.scheme == "tcp":
        return Bucket.UNDECRYPTABLE, "unknown_protocol"
    if decision is not None and decision.rule == "exclusion:on_client_certificate":
        return Bucket.UNDECRYPTABLE, "client_certificate"
    return Bucket.SPLICED, _splice(decision)


def _splice(decision: TlsDecision | None) -> str:
    """Names of rules and hosts would make as many words as there are of them; the event has them beside."""
    if decision is None or decision.by_default:
        return "default"
    if decision.rule.startswith("exclusion:"):
        return "shipped" if decision.rule.startswith("exclusion:shipped:") else "exclusion"
    if decision.rule.startswith("upstream_certificates "):
        return "upstream_certificates"
    return decision.rule if decision.rule in _FIXED else "rule"
