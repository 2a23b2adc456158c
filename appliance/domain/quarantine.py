"""Infected bodies that are kept: what is known of one, and why another could not be."""

from dataclasses import dataclass
from enum import Enum

from appliance.domain.errors import ArcusError


class Keeping(Enum):
    """What became of an infected body; the values are the words of the audit record and of the metrics."""

    KEPT = "kept"
    AGAIN = "again"
    """The tenant's quarantine has it already; it was counted."""
    TOO_LARGE = "too_large"
    """Above ``quarantine.max_size``."""
    INCOMPLETE = "incomplete"
    """It was found infected before it had arrived whole."""
    BUSY = "busy"
    """Others are still being written."""
    FULL = "full"
    """The tenant's quarantine is at its limit, and the oldest have not been deleted yet."""
    FAILED = "failed"
    """It could not be written: the disk, or the key."""


@dataclass(frozen=True, slots=True)
class Item:
    """One infected body. All of it but ``id`` and ``tenant`` is encrypted where it is stored.

    ``id``: 128 bits in hex that say nothing of the body to who has not the tenant's key. ``at``: when it was found, seconds
    since the epoch. ``task``: the audit record. ``side``: request or response. ``coding``: the body's Content-Encoding; the
    body is kept as it was transferred. ``media_type``: what its message called it, of samples (docs/retro.md). ``times``: how
    often the tenant met it. ``damaged``: it cannot be read any more.
    """

    id: str
    tenant: str
    at: float
    task: str = ""
    host: str = ""
    sha256: str = ""
    size: int = 0
    signature: str = ""
    user: str = ""
    client: str = ""
    side: str = ""
    coding: str = ""
    media_type: str = ""
    times: int = 1
    damaged: bool = False


class QuarantineError(ArcusError):
    """What may not be, or is not there, and what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Damaged(QuarantineError):
    """The file was changed, cut off, or put in another place: no byte of it is given out."""
