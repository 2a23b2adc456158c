"""The Encapsulated header (RFC 3507 section 4.4.1): where each section of the message starts."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Final

from icap.protocol.errors import LocalProtocolError, RemoteProtocolError

_ENTRY: Final = re.compile(r"([a-z]+-[a-z]+)=([0-9]{1,10})")

type Names = tuple[str, ...]

_REQUEST_LISTS: Final[frozenset[Names]] = frozenset(
    (("req-hdr", "req-body"), ("req-hdr", "null-body"), ("req-body",), ("null-body",))
)
_RESPONSE_LISTS: Final[frozenset[Names]] = frozenset(
    (("res-hdr", "res-body"), ("res-hdr", "null-body"), ("res-body",), ("null-body",))
)
_OPTIONS_LISTS: Final[frozenset[Names]] = frozenset((("opt-body",), ("null-body",)))

LEGAL_IN_REQUEST: Final[dict[str, frozenset[Names]]] = {
    "REQMOD": _REQUEST_LISTS,
    "RESPMOD": _RESPONSE_LISTS | {("req-hdr", *names) for names in _RESPONSE_LISTS},
    "OPTIONS": _OPTIONS_LISTS,
}
LEGAL_IN_RESPONSE: Final[dict[str, frozenset[Names]]] = {
    "REQMOD": _REQUEST_LISTS | _RESPONSE_LISTS,
    "RESPMOD": _RESPONSE_LISTS,
    "OPTIONS": _OPTIONS_LISTS,
}


@dataclass(frozen=True, slots=True)
class Encapsulated:
    """Sections and their offsets, in order; the last one is the body or ``null-body``."""

    sections: tuple[tuple[str, int], ...]
    heads: tuple[tuple[str, int], ...] = field(init=False, compare=False)
    """Name and length in bytes of each header section."""

    def __post_init__(self) -> None:
        heads = tuple((name, following - offset) for (name, offset), (_, following) in pairwise(self.sections))
        object.__setattr__(self, "heads", heads)

    def __str__(self) -> str:
        return ", ".join(f"{name}={offset}" for name, offset in self.sections)

    @property
    def names(self) -> Names:
        return tuple(name for name, _ in self.sections)

    @property
    def body(self) -> str:
        return self.sections[-1][0]

    @property
    def has_body(self) -> bool:
        return self.body != "null-body"

    @property
    def head_bytes(self) -> int:
        return self.sections[-1][1]


@lru_cache(1024)  # a client's heads have few lengths; what is refused is not remembered
def parse_encapsulated(text: str, legal: frozenset[Names]) -> Encapsulated:
    """Parse a value and hold it against the lists that are legal for this kind of message.

    Raises:
        RemoteProtocolError: malformed, an illegal list, a first offset that is not 0, offsets that do not grow.
    """
    sections = tuple(_entry(entry.strip(" \t")) for entry in text.split(",", 3))
    encapsulated = Encapsulated(sections)
    if encapsulated.names not in legal:
        raise RemoteProtocolError(f"illegal Encapsulated list: {text[:80]!r}")
    offsets = [offset for _, offset in sections]
    if offsets[0] != 0 or any(after <= before for before, after in pairwise(offsets)):
        raise RemoteProtocolError(f"Encapsulated offsets do not start at 0 and grow: {text[:80]!r}")
    return encapsulated


def _entry(text: str) -> tuple[str, int]:
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise RemoteProtocolError(f"not an Encapsulated entry: {text[:80]!r}")
    return match[1], int(match[2])


def is_section(block: bytes) -> bool:
    """Whether a block is one header section: something, ended by its first and only CRLF CRLF."""
    return len(block) > 4 and block.find(b"\r\n\r\n") == len(block) - 4


def build_encapsulated(request_head: bytes | None, response_head: bytes | None, body: str) -> Encapsulated:
    """The list for these sections; ``body`` is the name of the body section.

    Raises:
        LocalProtocolError: a head is not one block that ends in its only empty line.
    """
    sections: list[tuple[str, int]] = []
    offset = 0
    for name, head in (("req-hdr", request_head), ("res-hdr", response_head)):
        if head is not None:
            if not is_section(head):
                raise LocalProtocolError(f"{name} is not one header section")
            sections.append((name, offset))
            offset += len(head)
    return Encapsulated((*sections, (body, offset)))
