"""A verdict that is kept: what a service said of a body, and what it may be used for."""

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from icap.client.message import Message, Method

MAX_BYTES: Final = 16 * 1024
"""Of one written down."""
_VERSION: Final = 1
_REASONS: Final = {reason.word: reason for reason in Reason}
_KEPT: Final = frozenset((Outcome.CLEAN, Outcome.BLOCKED))


@dataclass(frozen=True, slots=True)
class Key:
    """What two messages must share for one's verdict to be the other's. ``digest`` is SHA-256 of the body, computed by us over
    what is delivered; ``facts`` a digest of all else that the service may judge by, empty where it judges by the body."""

    policy: str
    """The service and how it is asked; and the tenant, unless tenants with the same policy share verdicts."""
    method: Method
    coding: bytes
    """Content-Encoding: the same bytes are something else to who unpacks them."""
    size: int
    digest: str
    facts: str = ""

    def to_bytes(self) -> bytes:
        """No two keys have the same."""
        parts = (self.policy, self.method, self.coding.hex(), str(self.size), self.digest, self.facts)
        return json.dumps(parts).encode()


@dataclass(frozen=True, slots=True)
class Kept:
    verdict: ScanVerdict
    """Of the scan that was made."""
    since: float
    """When: seconds since the epoch."""

    def used(self, message: Message, now: float, ms: float) -> ScanVerdict:
        """As it stands in the record of a message that was not sent to the service."""
        age = max(0.0, now - self.since)
        return replace(self.verdict, method=message.method, cached=True, age=age, scan_ms=self.verdict.ms, ms=ms)

    def to_bytes(self) -> bytes:
        verdict = self.verdict
        return json.dumps(
            {
                "v": _VERSION,
                "since": self.since,
                "service": verdict.service,
                "method": verdict.method,
                "outcome": verdict.outcome.value,
                "reason": verdict.reason.word,
                "signature": verdict.signature,
                "status": verdict.icap_status,
                "istag": verdict.istag,
                "engine": verdict.engine,
                "ms": verdict.ms,
                "size": verdict.size,
                "sha256": verdict.sha256,
                "headers": verdict.headers,
                "scanners": verdict.scanners,
                "by_body": verdict.by_body,
            }
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Kept":
        """Raises ValueError."""
        try:
            return _read(json.loads(data))
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a verdict: {error}") from error


def _read(each: Any) -> Kept:
    outcome = Outcome(each["outcome"])
    if each["v"] != _VERSION or outcome not in _KEPT:
        raise ValueError("not a verdict of this version")
    verdict = ScanVerdict(
        service=str(each["service"]),
        method=str(each["method"]),
        outcome=outcome,
        reason=_REASONS[each["reason"]],
        signature=str(each["signature"]),
        icap_status=int(each["status"]),
        istag=str(each["istag"]),
        engine=str(each["engine"]),
        ms=float(each["ms"]),
        size=int(each["size"]),
        sha256=str(each["sha256"]),
        headers=tuple((str(name), str(value)) for name, value in each["headers"]),
        scanners=tuple(str(line) for line in each["scanners"]),
        by_body=each["by_body"] is True,
    )
    return Kept(verdict, float(each["since"]))


def facts_of(message: Message) -> str:
    """A digest of everything about a message but its body."""
    who = message.identity
    parts = (bytes(message.request_head), bytes(message.response_head or b""), repr(who).encode())
    return sha256(b"".join(len(part).to_bytes(4) + part for part in parts)).hexdigest()


def coding_of(message: Message) -> bytes:
    """All lines of Content-Encoding of the head that belongs to the body, in lower case."""
    if message.coding is not None:
        return message.coding
    head = bytes(message.request_head if message.method == "REQMOD" else message.response_head or b"")
    lines = head.lower().split(b"\r\n")
    values = [line.partition(b":")[2].strip() for line in lines if line.startswith(b"content-encoding:")]
    return b",".join(values)
