"""ICAP header sections (RFC 3507 section 4.3, RFC 2616 section 4.2)."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from icap.protocol.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from icap.protocol.limits import DEFAULT_LIMITS, Limits

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# What ends a line early, or is no ISO 8859-1.
_BREAK: Final = re.compile(r"[\r\n\0]|[^\x00-\xff]")
_PLAIN: Final = re.compile(r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[^\r\n\0]*+\r\n)*+")
_EACH: Final = re.compile(r"([^:]+):([^\r]*)\r\n")
_NONE: Final = frozenset[str]()

type Field = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Headers:
    """Fields as received: case, order and duplicates kept. Text is ISO 8859-1, so any byte survives."""

    fields: tuple[Field, ...] = ()
    _index: dict[str, list[str]] = field(init=False, repr=False, compare=False)
    """Values by lower-case name: an exchange asks for a dozen fields, and a scan for each took a tenth of its time."""

    def __post_init__(self) -> None:
        index: dict[str, list[str]] = {}
        for name, value in self.fields:
            key = name.lower()
            if key in index:
                index[key].append(value)
            else:
                index[key] = [value]
        object.__setattr__(self, "_index", index)

    @classmethod
    def of(cls, *fields: Field) -> "Headers":
        return cls(fields)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._index

    def has_none(self, names: frozenset[str]) -> bool:
        """None of these fields is there; the names in lower case."""
        return names.isdisjoint(self._index)

    def all(self, name: str) -> list[str]:
        """Every value of a field, in order; the name in any case."""
        return list(self._index.get(name.lower(), ()))

    def first(self, name: str) -> str | None:
        values = self._index.get(name.lower())
        return values[0] if values else None

    def single(self, name: str) -> str | None:
        """The value of a field that may stand once only.

        Raises:
            RemoteProtocolError: it stands more than once, so two readers could take different ones.
        """
        values = self._index.get(name.lower())
        if values is None:
            return None
        if len(values) > 1:
            raise RemoteProtocolError(f"{name} stands {len(values)} times")
        return values[0]

    def tokens(self, name: str) -> frozenset[str]:
        """The members of a comma-separated list field, in lower case."""
        values = self._index.get(name.lower())
        if values is None:
            return _NONE
        return _members(values[0]) if len(values) == 1 else _members(",".join(values))

    def plus(self, *fields: Field) -> "Headers":
        return Headers(self.fields + fields)

    def serialise(self) -> str:
        """The lines, each ended by CRLF, without the empty line.

        Raises:
            LocalProtocolError: a name is no token, or a value would break the line.
        """
        return "".join(_line(name, value) for name, value in self.fields)


NO_FIELDS: Final = Headers()


@lru_cache(256)  # Connection and Allow hardly ever say anything new
def _members(text: str) -> frozenset[str]:
    return frozenset([found for member in text.split(",") if (found := member.strip().lower())])


def _line(name: str, value: str) -> str:
    if not _TOKEN.fullmatch(name) or _BREAK.search(value):
        raise LocalProtocolError(f"not a header field: {name!r}: {value!r}")
    return f"{name}: {value}\r\n"


def parse_fields(block: str, limits: Limits = DEFAULT_LIMITS) -> Headers:
    """Parse lines separated by CRLF, without the final CRLF.

    Folded lines (obs-fold) are joined to their field by the white space that folds them: c-icap folds
    X-Violations-Found, and dropping its lines would lose the name of the virus.

    Raises:
        RemoteProtocolError: a line is no field, or a line break or NUL stands alone.
        LimitExceeded: a line is too long or there are too many.
    """
    if not block:
        return Headers()
    lines = block.split("\r\n")
    if len(lines) > limits.header_count:
        raise LimitExceeded("header_count", limits.header_count)
    return Headers(tuple(_fields(lines, limits.header_line)))


def plain_fields(block: str, limits: Limits = DEFAULT_LIMITS) -> Headers | None:
    """``parse_fields`` of lines that each end in CRLF, in one pass; None when it has to look at them one by one."""
    if len(block) > limits.header_line or not _PLAIN.fullmatch(block):
        return None
    found = _EACH.findall(block)
    if len(found) > limits.header_count:
        return None
    return Headers(tuple([(name, value.strip(" \t")) for name, value in found]))


def _fields(lines: Iterable[str], longest: int) -> list[Field]:
    fields: list[Field] = []
    for line in lines:
        if len(line) > longest:
            raise LimitExceeded("header_line", longest)
        if _BREAK.search(line):
            raise RemoteProtocolError("line break or NUL inside a header line")
        if line[:1] in (" ", "\t"):
            _unfold(fields, line)
        else:
            fields.append(_field(line))
    return fields


def _field(line: str) -> Field:
    name, colon, value = line.partition(":")
    if not colon or not _TOKEN.fullmatch(name):
        raise RemoteProtocolError(f"not a header field: {line[:80]!r}")
    return name, value.strip(" \t")


def _unfold(fields: list[Field], line: str) -> None:
    if not fields:
        raise RemoteProtocolError("a folded line before the first header field")
    name, value = fields[-1]
    fields[-1] = (name, f"{value}{line[0]}{line.strip(' \t')}".strip(" \t"))
