"""Which leaves of a CA are revoked: a small file that the command line writes and everybody else reads."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from appliance.domain.errors import ConfigError, Problem
from appliance.files import locked, write_whole

MAX_REVOKED = 10_000
"""Entries of one CA; a CRL with as many takes 400 KB."""
KEPT_SECONDS = 400 * 86_400
"""An entry outlives the longest leaf (200 days) by as much again; after that nobody can ask about it any more."""
MAX_SERIAL_BITS = 159
"""20 octets, of which the first bit is a sign (RFC 5280 section 4.1.2.2)."""
REASONS = {
    each.name: each
    for each in (
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.key_compromise,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
        x509.ReasonFlags.privilege_withdrawn,
    )
}
"""What may be said of a leaf (RFC 5280 section 5.3.1), by the words of the configuration and the command line."""


@dataclass(frozen=True, slots=True, order=True)
class Revoked:
    """A leaf that must not be trusted any more. ``at``: seconds since the epoch; ``reason``: a word of ``REASONS``."""

    serial: int
    at: int
    reason: str = "unspecified"


class RevokedError(ConfigError):
    """The list cannot be read or written; nothing is answered from a list that is not whole."""

    def __init__(self, file: Path, message: str) -> None:
        super().__init__([Problem(message, file=str(file))])


def parse_serial(text: str) -> int:
    """A serial as records and browsers show it: hex, with or without colons. Raises ValueError."""
    digits = text.replace(":", "").strip().lower().removeprefix("0x")
    if not digits or len(digits) > 40 or not set(digits) <= set("0123456789abcdef"):
        raise ValueError(f"not a serial number in hex: {text!r}")
    serial = int(digits, 16)
    if not 0 < serial < 1 << MAX_SERIAL_BITS:
        raise ValueError(f"not the serial number of a certificate: {text!r}")
    return serial


def read(file: Path) -> dict[int, Revoked]:
    """By serial; empty when there is no file. Raises RevokedError."""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RevokedError(file, f"cannot be read: {error.strerror}") from error
    try:
        return parse(text)
    except ValueError as error:
        raise RevokedError(file, f"is no list of revoked certificates: {error}") from error


def parse(text: bytes) -> dict[int, Revoked]:
    """Raises ValueError for anything but what `encode` writes."""
    try:
        document = json.loads(text)
        entries = [_entry(each) for each in document["revoked"]]
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not the expected form") from error
    if len(entries) > MAX_REVOKED:
        raise ValueError(f"more than {MAX_REVOKED} entries")
    return {each.serial: each for each in entries}


def _entry(value: dict[str, object]) -> Revoked:
    serial, at, reason = value["serial"], value["at"], value["reason"]
    if not isinstance(serial, str) or not isinstance(at, int) or not 0 <= at < 1 << 40 or reason not in REASONS:
        raise ValueError("an entry that is no entry")
    return Revoked(parse_serial(serial), at, str(reason))


def encode(entries: Iterable[Revoked]) -> bytes:
    rows = [{"serial": f"{each.serial:x}", "at": each.at, "reason": each.reason} for each in sorted(entries)]
    return json.dumps({"revoked": rows}, indent=1).encode()


def add(file: Path, entry: Revoked) -> bool:
    """Put one on the list; False when it was there. Entries that nobody can ask about any more go. Raises RevokedError."""
    if entry.reason not in REASONS:
        raise ValueError(f"not a reason: {entry.reason!r}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(file.with_name(".lock")):
            return _add(file, entry)
    except OSError as error:
        raise RevokedError(file, f"cannot be written: {error.strerror}") from error


def _add(file: Path, entry: Revoked) -> bool:
    known = {serial: each for serial, each in read(file).items() if each.at > entry.at - KEPT_SECONDS}
    if entry.serial in known:
        return False
    if len(known) >= MAX_REVOKED:
        raise RevokedError(file, f"holds {MAX_REVOKED} certificates already; if so many are wrong, rotate the CA")
    write_whole(file, encode([*known.values(), entry]))
    return True
