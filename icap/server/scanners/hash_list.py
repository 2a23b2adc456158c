"""Lists of SHA-256 digests in little memory: one line an entry, ``DIGEST`` or ``DIGEST NAME``; ``#`` begins a comment.

An entry takes 36 bytes: digest and place of its name. A million of them are 36 MB, and their names lie in one string beside.
The records lie in 256 buckets by their first byte, each sorted for itself, so that no step of loading holds the
interpreter's lock for longer than a moment: a server goes on answering meanwhile.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from icap.server.scanners.watched import Flawed, Unread

MAX_LINE: Final = 512
MAX_NAME: Final = 120
DIGEST: Final = 32
_RECORD: Final = DIGEST + 4
_LINE: Final = re.compile(rb"([0-9A-Fa-f]{64})(?:[ \t]+([!-~](?:[ -~]*[!-~])?))?")
UNNAMED: Final = "Hash.Listed"
_SHARED_NAMES: Final = 65_536
MAX_FLAWS: Final = 20
"""Bad lines that are told; a file that is no list has as many as it has lines."""


@dataclass(frozen=True, slots=True)
class HashList:
    """Digests and what they are called. ``names``: lines, to which the records point."""

    buckets: tuple[bytes, ...]
    names: bytes

    def __len__(self) -> int:
        return sum(map(len, self.buckets)) // _RECORD

    def find(self, digest: bytes) -> str | None:
        """What a digest of 32 bytes is called; None when it is not listed."""
        bucket = self.buckets[digest[0]]
        count = len(bucket) // _RECORD
        at = bisect_left(range(count), digest, key=lambda index: bucket[index * _RECORD : index * _RECORD + DIGEST])
        record = bucket[at * _RECORD : (at + 1) * _RECORD]
        if record[:DIGEST] != digest:
            return None
        start = int.from_bytes(record[DIGEST:])
        return self.names[start : self.names.index(b"\n", start)].decode()


def load(files: Iterable[Path], most: int) -> HashList:
    """All files as one list; of a digest that is listed twice, the name that came first counts.

    Raises:
        Flawed: a line that is no entry, more than ``most`` entries, or a file that cannot be read (Unread).
    """
    builder = _Builder(most)
    flaws: list[str] = []
    flawed: type[Flawed] = Flawed
    for file in files:
        try:
            with file.open("rb") as stream:
                _read(file, stream, builder, flaws)
        except OSError as error:
            flaws.append(f"{file}: {error.strerror}")
            flawed = Unread
    if flaws:
        raise flawed("; ".join(flaws[:MAX_FLAWS]))
    return builder.build()


def parse_line(line: bytes) -> tuple[bytes, str] | None:
    """Digest and name (empty: none); None for a comment or an empty line.

    Raises:
        ValueError: it is neither.
    """
    text = line.strip(b" \t\r\n")
    if not text or text.startswith(b"#"):
        return None
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError("not a SHA-256 in hexadecimal, with or without a name after it")
    return bytes.fromhex(match[1].decode()), (match[2] or b"").decode()[:MAX_NAME]


class _Builder:
    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._buckets = [bytearray() for _ in range(256)]
        self._names = bytearray()
        self._places: dict[str, int] = {}

    def add(self, digest: bytes, name: str) -> None:
        """Raises ValueError when there are too many."""
        self._count += 1
        if self._count > self._most:
            raise ValueError(f"more than {self._most} entries (max_entries)")
        self._buckets[digest[0]] += digest + self._place(name or UNNAMED).to_bytes(4)

    def build(self) -> HashList:
        return HashList(tuple(_sorted(bucket) for bucket in self._buckets), bytes(self._names))

    def _place(self, name: str) -> int:
        """Names that many entries share are kept once; those of their own are not worth the table that would tell."""
        place = self._places.get(name)
        if place is None:
            place = len(self._names)
            self._names += name.encode() + b"\n"
            if len(self._places) < _SHARED_NAMES:
                self._places[name] = place
        return place


def _sorted(bucket: bytearray) -> bytes:
    records = sorted(bytes(bucket[at : at + _RECORD]) for at in range(0, len(bucket), _RECORD))
    bucket.clear()
    return b"".join(records)


def _read(file: Path, stream: BinaryIO, builder: _Builder, flaws: list[str]) -> None:
    for number, line in enumerate(_lines(stream), 1):
        try:
            entry = parse_line(line)
            if entry is not None:
                builder.add(*entry)
        except ValueError as error:
            flaws.append(f"{file}:{number}: {error}")
            if len(flaws) >= MAX_FLAWS or "max_entries" in str(error):
                return


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines, each cut where it is too long for an entry: a file without line ends must not be one line in memory."""
    while line := stream.readline(MAX_LINE):
        yield line
        while not line.endswith(b"\n") and (line := stream.readline(MAX_LINE)):
            continue
