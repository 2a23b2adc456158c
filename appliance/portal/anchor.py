"""A CA certificate as it is offered to a client: every form of it, and what a person compares. Never a key."""

from dataclasses import dataclass
from typing import Final

STEM: Final = "arcus-ca"


@dataclass(frozen=True, slots=True)
class Anchor:
    """``sha256`` and ``sha1`` are upper-case hex in pairs, joined by colons; times are seconds since the epoch."""

    name: str
    common_name: str
    subject: str
    sha256: str
    sha1: str
    not_before: float
    not_after: float
    pem: bytes
    der: bytes
    p12: bytes
    root: bool = True
    """Self-signed. A subordinate's own root may be trusted already."""


def stem(number: int) -> str:
    """The name of a file with the CA of this number, without ending: the one that signs now has no number in it."""
    return f"{STEM}-{number + 1}" if number else STEM
