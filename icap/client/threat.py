"""What a service's headers say about a threat (draft-stecher-icap-subid-00 sections 4.5 to 4.7)."""

import re
from dataclasses import dataclass
from typing import Final

from icap.protocol import Field, Headers

_NOTED: Final = ("X-Infection-Found", "X-Virus-ID", "X-Violations-Found", "X-Response-Info", "X-Response-Desc")
_NOTED_KEYS: Final = frozenset(name.lower() for name in _NOTED)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_THREAT: Final = re.compile(r"(?i)(?:^|;)\s*threat\s*=\s*([^;]*)")
_RESOLUTION: Final = re.compile(r"(?i)(?:^|;)\s*resolution\s*=\s*([0-9]+)")
_REPAIRED: Final = "1"
MAX_TEXT: Final = 512
MAX_SCANNERS: Final = 16


@dataclass(frozen=True, slots=True)
class Threat:
    """``signature`` may be empty; ``repaired``: the service says that what it returns is free of it."""

    signature: str
    repaired: bool = False


def clean_text(text: str) -> str:
    """Text for records: services repeat file names there, which the attacker writes."""
    if not text.isprintable():  # which no text with control characters is
        text = _CONTROL.sub(" ", text)
    return text.strip()[:MAX_TEXT]


def read_threat(headers: Headers) -> Threat | None:
    """The threat that any of the three headers reports, in the order in which they are most exact."""
    if headers.has_none(_NOTED_KEYS):
        return None
    infection = headers.first("X-Infection-Found")
    virus = headers.first("X-Virus-ID")
    violations = (headers.first("X-Violations-Found") or "").split("\t")
    if not infection and not virus and violations[0].strip() in ("", "0"):
        return None
    # A violation record is four folded lines: file, threat, id, resolution.
    names = (_search(_THREAT, infection or ""), virus or "", violations[2] if len(violations) > 2 else "")
    signature = next((clean_text(name) for name in names if name.strip()), "")
    return Threat(signature, _search(_RESOLUTION, infection or "") == _REPAIRED)


def noted_headers(headers: Headers) -> tuple[Field, ...]:
    """The headers that go into the audit record, cleaned."""
    if headers.has_none(_NOTED_KEYS):
        return ()
    return tuple((name, clean_text(value)) for name in _NOTED for value in headers.all(name))


def scanner_lines(headers: Headers) -> tuple[str, ...]:
    """What each scanner behind a service of ours said."""
    return tuple([clean_text(value) for value in headers.all("X-Arcus-Scanner-Result")[:MAX_SCANNERS]])


def _search(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1].strip() if match else ""
