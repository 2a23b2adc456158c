"""Lists of hosts as people keep them: one entry a line, ``#`` begins a comment.

An entry is a host (``bank.example``), a domain with everything below it (``.example.com`` or ``*.example.com``) or an IP
address. The form of hosts files is read as well: ``0.0.0.0 ads.example`` lists the names, not the address.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from appliance.domain.target import normalise_host
from appliance.domain.text import printable

MAX_ENTRIES: Final = 1_000_000
MAX_LINE: Final = 512
MAX_FLAWS: Final = 20
"""Bad lines that are told; a file that is no list has as many as it has lines."""

_SINK: Final = frozenset({"0.0.0.0", "127.0.0.1", "::", "::1"})
_BREAK: Final = re.compile(r"\r\n|\n|\r")
_SPACE: Final = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Flaw:
    """A line, from 1, that is no entry."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class HostEntries:
    """``entries`` in the order of the file, each once. A list with ``flaws`` must not be used."""

    entries: tuple[str, ...]
    flaws: tuple[Flaw, ...] = ()


def parse_host_list(text: str) -> HostEntries:
    """Every entry and every flaw; never fails. Bounded by MAX_ENTRIES and MAX_FLAWS."""
    entries: dict[str, None] = {}
    flaws: list[Flaw] = []
    for number, line in enumerate(_BREAK.split(text.removeprefix("\ufeff")), 1):
        try:
            entries.update((each, None) for each in _entries(line))
        except ValueError as error:
            flaws.append(Flaw(number, str(error)))
        if len(entries) > MAX_ENTRIES:
            flaws.append(Flaw(number, f"more than {MAX_ENTRIES} entries"))
        if len(flaws) >= MAX_FLAWS or len(entries) > MAX_ENTRIES:
            break
    return HostEntries(tuple(entries), tuple(flaws))


def host_entry(text: str) -> str:
    """A host, or ``.suffix`` (also ``*.suffix``), in normal form. Raises ValueError."""
    name = text.removeprefix("*") if text.startswith("*.") else text
    dot = "." if name.startswith(".") else ""
    return dot + normalise_host(name.removeprefix("."))


def _entries(line: str) -> Iterator[str]:
    if len(line) > MAX_LINE:
        raise ValueError(f"longer than {MAX_LINE} characters")
    words = [word for word in _SPACE.split(line.partition("#")[0]) if word]
    if len(words) > 1 and words[0] in _SINK:
        words = words[1:]
    elif len(words) > 1:
        raise ValueError(f"more than one entry: {printable(line.strip(), 80)!r}")
    for word in words:
        try:
            yield host_entry(word)
        except ValueError:
            raise ValueError(f"not a host name, .suffix or IP address: {printable(word, 80)!r}") from None
