"""Bodies that were delivered, by their hash, and what is found out about them afterwards."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from appliance.domain.errors import ArcusError

_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}\Z")


class Verdict(StrEnum):
    """What is known of a body."""

    CLEAN = "clean"
    UNSCANNED = "unscanned"
    """It passed without a verdict, by configuration."""
    BAD = "bad"
    """It was delivered, and a scanner or a list calls it bad now."""


class Limit(StrEnum):
    """Why a body's hash, or its verdict, does not say everything."""

    HEAD_ONLY = "head_only"
    """Only its beginning was scanned, and the hash is of that."""
    PART = "part"
    """A piece of a resource (206), and the hash is of that."""
    PACKED = "packed"
    """The hash is of the gzip form in which it was transferred."""
    MODIFIED = "modified"
    """The service changed it: the hash is of what came, not of what was delivered."""
    ENCRYPTED = "encrypted"
    """Scanners could not look into it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One body in one task that let it pass. ``at``: when the task ended; ``judged_at``: when its verdict was made, which is
    earlier for a kept one. Seconds since the epoch. ``side``: request (an upload) or response."""

    tenant: str
    sha256: str
    size: int
    task: str
    at: float
    side: str
    user: str = ""
    client: str = ""
    host: str = ""
    url: str = ""
    verdict: Verdict = Verdict.CLEAN
    service: str = ""
    engine: str = ""
    istag: str = ""
    judged_at: float = 0.0
    limits: tuple[Limit, ...] = ()
    sample: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something calls a body bad. ``by``: the ICAP service, or ``list NAME``."""

    tenant: str
    sha256: str
    signature: str
    by: str
    engine: str
    at: float


@dataclass(frozen=True, slots=True)
class Flow:
    """Who got it (or sent it), when, and from where. ``task`` is the audit record's id."""

    task: str
    at: float
    side: str
    user: str = ""
    client: str = ""
    host: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """What a tenant's ledger has of one body. ``deliveries``: flows that are known of it. ``sample``: the id of its sealed
    copy; empty without one. ``signature``, ``found_by`` and ``found_at``: once it is bad."""

    tenant: str
    sha256: str
    size: int
    first_at: float
    last_at: float
    verdict: Verdict
    limits: tuple[Limit, ...]
    service: str
    engine: str
    istag: str
    judged_at: float
    sample: str = ""
    signature: str = ""
    found_by: str = ""
    found_at: float = 0.0
    deliveries: int = 0
    flows: tuple[Flow, ...] = ()
    """The newest of them, where they were asked for."""


@dataclass(frozen=True, slots=True)
class Hunt:
    """How far a tenant's last hunt has come. ``cause``: why it began. ``ended_at`` 0: it goes on. ``lists``: the hash lists
    that it holds hashes against; ``position``: up to which hash. ``tag``: the signatures of the scanners, as far as they tell;
    ``since``: samples that were judged before are judged again."""

    tenant: str
    cause: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    lists: str = ""
    position: str = ""
    tag: str = ""
    since: float = 0.0
    judged: int = 0
    found: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """A tenant's ledger in numbers. ``waiting``: samples to be judged again. ``without_sample``: bodies that no scanner can
    judge again; only hash lists, and what is found in the same body elsewhere, tell of them. ``limits``: bodies by why their
    hash or verdict does not say everything."""

    tenant: str
    bodies: int = 0
    deliveries: int = 0
    bad: int = 0
    samples: int = 0
    without_sample: int = 0
    waiting: int = 0
    failing: int = 0
    """Of ``waiting``: those that a scanner could not judge when it was asked last."""
    limits: dict[str, int] = field(default_factory=dict)
    hunt: Hunt | None = None


class RetroError(ArcusError):
    """What may not be, or is not there, and what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def digest(text: str) -> str:
    """A SHA-256 in lower case. Raises RetroError."""
    if not _SHA256.match(text.strip()):
        raise RetroError(f"not a SHA-256 in hexadecimal: {text.strip()[:80]!r}", "it has 64 digits, 0 to 9 and a to f")
    return text.strip().lower()
