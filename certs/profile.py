"""What a leaf says, apart from its key, its serial and its issuer: the key of every cache of leaves.

On the wire (between a worker and whoever signs, and in shared caches) a profile is at most ``MAX_BYTES`` long:

    version 1 | flags | not_after | number of names | names | common name | number of attributes | attributes
       u8        u8       u64            u8           text*       text              u8             (code u8, text)*

A text is a u8 length and that many octets of UTF-8. Flag 1: the key is ECDSA. ``not_after`` 0: no bound.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.domain.target import normalise_host
from certs.names import is_normal

VERSION = 1
ECDSA = 0x01
MAX_NAMES = 100
"""Shared certificates list up to thousands of names. A client needs the one it asked for and, to reuse the
connection (RFC 9113 section 9.1.1), a few more; each costs bytes in every handshake."""
MAX_NAMES_BYTES = 4096
"""All names together: one certificate message stays well inside a first flight of ten packets."""
MAX_COMMON_NAME = 64
"""ub-common-name (RFC 5280 appendix A.1)."""
MAX_NOT_AFTER = 253_402_300_799
"""9999-12-31 23:59:59 UTC, the last second that a certificate can name."""
ATTRIBUTES = {"C": 2, "ST": 128, "L": 128, "O": 64}
"""What a subject may say besides its common name, in the order of the subject, and how many characters each may have."""
MAX_BYTES = 16_384
"""More than any profile within these bounds takes."""


@dataclass(frozen=True, slots=True)
class LeafProfile:
    """What a leaf says, and the key of the cache: equal profiles share one leaf.

    ``names`` are what a client may reach: DNS names in their normal form (a wildcard as its whole first label),
    or IP addresses as text. ``not_after`` (whole seconds since the epoch) is a bound besides the CA's own.
    ``subject`` holds pairs of a word of ``ATTRIBUTES`` and its text, in that order, each at most once.
    """

    names: tuple[str, ...]
    common_name: str = ""
    ecdsa: bool = True
    not_after: int | None = None
    subject: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("a leaf needs a name")

    @classmethod
    def for_host(cls, host: str, *, ecdsa: bool = True) -> "LeafProfile":
        """A leaf for one host or address, when no server certificate is known. Raises ValueError for no host name."""
        name = normalise_host(host)
        return cls((name,), name, ecdsa)

    def to_bytes(self) -> bytes:
        """The one encoding of this profile. Raises ValueError for one beyond the bounds, which `from_bytes` refuses."""
        _check(self)
        parts = [bytes((VERSION, ECDSA if self.ecdsa else 0)), int(self.not_after or 0).to_bytes(8)]
        parts += [bytes((len(self.names),)), *map(_text, self.names), _text(self.common_name)]
        parts.append(bytes((len(self.subject),)))
        parts += [bytes((_CODES[word],)) + _text(value) for word, value in self.subject]
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> "LeafProfile":
        """The profile in ``data``. Raises ValueError for anything that `to_bytes` would not have written."""
        if len(data) > MAX_BYTES:
            raise ValueError("a profile is too long")
        reader = _Reader(data)
        if reader.number(1) != VERSION:
            raise ValueError("a profile of another version")
        flags, end = reader.number(1), reader.number(8)
        if flags & ~ECDSA:
            raise ValueError("a profile with unknown flags")
        names = tuple(reader.text() for _ in range(reader.number(1)))
        common_name = reader.text()
        profile = cls(names, common_name, bool(flags & ECDSA), end or None, tuple(_attributes(reader)))
        reader.end()
        _check(profile)
        return profile


def usable_text(word: str, value: str) -> bool:
    """Whether a subject may carry this text: bounded, printable, and for a country two capital letters."""
    if word == "C":
        return len(value) == 2 and value.isascii() and value.isalpha() and value.isupper()
    return 0 < len(value) <= ATTRIBUTES[word] and value.isprintable() and value == value.strip() and len(_utf8(value)) < 256


_WORDS = tuple(ATTRIBUTES)
_CODES = {word: code for code, word in enumerate(_WORDS)}


def _check(profile: LeafProfile) -> None:
    """Raises ValueError unless the profile is within the bounds and in normal form."""
    if len(profile.names) > MAX_NAMES or sum(map(len, profile.names)) > MAX_NAMES_BYTES:
        raise ValueError("a profile with too many names")
    if len(set(profile.names)) != len(profile.names) or not all(map(is_normal, profile.names)):
        raise ValueError("a profile with a name twice, or with one that is no name")
    if profile.common_name and not is_normal(profile.common_name):
        raise ValueError("a common name that is no name")
    if profile.not_after is not None and not (
        profile.not_after == int(profile.not_after) and 0 < profile.not_after <= MAX_NOT_AFTER
    ):
        raise ValueError("not a time in whole seconds")
    words = [word for word, _ in profile.subject]
    if words != [word for word in _WORDS if word in words] or not all(usable_text(*each) for each in profile.subject):
        raise ValueError("not a subject")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _text(text: str) -> bytes:
    data = text.encode("utf-8")
    return bytes((len(data),)) + data


def _attributes(reader: "_Reader") -> Iterator[tuple[str, str]]:
    for _ in range(reader.number(1)):
        code = reader.number(1)
        if code >= len(_WORDS):
            raise ValueError("an unknown attribute of a subject")
        yield _WORDS[code], reader.text()


class _Reader:
    """Reads front to back, and never past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size))

    def text(self) -> str:
        """Raises ValueError, of which UnicodeDecodeError is one."""
        return self._take(self.number(1)).decode("utf-8")

    def end(self) -> None:
        if self._at != len(self._data):
            raise ValueError("bytes after the end of a profile")

    def _take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise ValueError("a profile that is cut short")
        self._at += size
        return piece
