"""Exclusions that were learned: what admin process, store and workers tell each other."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

FORMAT: Final = 1
MAX_SNAPSHOT: Final = 8 * 1024 * 1024


class Kind(Enum):
    PINNED = "pinned"
    """A program accepts no certificate of ours for the host; one fingerprint of ClientHellos."""
    MTLS = "mtls"
    """The server wants a certificate of the client; every client."""
    MANUAL = "manual"
    """A person said so."""


class State(Enum):
    PROPOSED = "proposed"
    ACTIVE = "active"
    REJECTED = "rejected"
    EXPIRED = "expired"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Learned:
    """An exclusion as workers know it. ``fingerprint`` is a JA4; empty: any. ``until``: seconds since the epoch."""

    id: str
    tenant: str
    host: str
    fingerprint: str
    kind: Kind
    reason: str
    until: float
    retest: int


def to_snapshot(entries: Iterable[Learned]) -> bytes:
    """What the admin process writes for the workers."""
    rows = [
        [each.id, each.tenant, each.host, each.fingerprint, each.kind.value, each.reason, each.until, each.retest]
        for each in entries
    ]
    return json.dumps({"format": FORMAT, "exclusions": rows}, separators=(",", ":")).encode("ascii")


def from_snapshot(data: bytes) -> tuple[Learned, ...]:
    """What ``to_snapshot`` wrote. Raises ValueError for anything else: nothing may be excluded by half an answer."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']!r}")
        return tuple(_entry(row) for row in document["exclusions"])
    except (KeyError, TypeError, RecursionError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"no snapshot of exclusions: {type(error).__name__}") from error


def _entry(row: Any) -> Learned:
    id_, tenant, host, fingerprint, kind, reason, until, retest = row
    if not all(isinstance(text, str) for text in (id_, tenant, host, fingerprint, reason)) or not (id_ and tenant and host):
        raise ValueError("no exclusion")
    if isinstance(retest, bool) or not isinstance(retest, int) or not isinstance(until, int | float) or retest < 0:
        raise ValueError("no exclusion")
    return Learned(id_, tenant, host, fingerprint, Kind(kind), reason, float(until), retest)
