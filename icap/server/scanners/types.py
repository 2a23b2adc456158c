"""The type scanner: rules about what a body is, and what it is said to be."""

import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from appliance.domain.reason import Reason
from icap.server.scanners.containers import Container, container
from icap.server.scanners.declared import mismatch
from icap.server.scanners.magic import HEAD, TrueType, true_type
from icap.server.scanners.scanner import UNKNOWN, Grounds, ScannerHealth, ScanOutcome, ScanResult, Subject

_PACKED: Final = frozenset(("gzip", "x-gzip"))
_PLAIN: Final = frozenset(("", "identity"))
_VERSION: Final = 1
"""Of the tables: another number when verdicts may change with a release."""
_INFLATED: Final = 256 * 1024 * 1024
"""Bytes of a gzip-coded body that are unpacked to look at. What is behind is not known, and so not clean."""
_STEP: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class TypeRule:
    """Every condition that is given must hold; the first rule that does decides."""

    name: str
    allow: bool
    types: frozenset[str] = frozenset()
    """True types, or classes of them."""
    content_types: frozenset[str] = frozenset()
    """Declared; ``image/*`` is any of its kind."""
    extensions: frozenset[str] = frozenset()
    mismatch: bool = False
    """Declared type or extension says something else than the bytes."""

    @property
    def judges_head(self) -> bool:
        return bool(self.content_types or self.extensions or self.mismatch)

    def holds(self, kind: TrueType, subject: Subject) -> bool:
        declared = subject.content_type
        return (
            (not self.types or kind.matches(self.types))
            and (not self.content_types or not self.content_types.isdisjoint((declared, f"{declared.partition('/')[0]}/*")))
            and (not self.extensions or subject.extension in self.extensions)
            and (not self.mismatch or bool(mismatch(subject, kind)))
        )


class _Look:
    """What is known of a body's type while its pieces pass. Constant memory."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._kind: TrueType | None = None
        self._inside: Container | None = None

    def feed(self, piece: bytes) -> None:
        if self._kind is not None:
            if self._inside is not None:
                self._inside.feed(piece)
            return
        self._head += piece
        if len(self._head) >= HEAD:
            self._decide()

    def end(self) -> TrueType:
        if self._kind is None:
            self._decide()
        return self._inside.kind if self._inside is not None else self._kind or true_type(b"")

    def _decide(self) -> None:
        head = bytes(self._head)
        self._kind = true_type(head[:HEAD])
        self._inside = container(self._kind)
        if self._inside is not None:
            self._inside.feed(head)
        self._head.clear()


class _Unpacked:
    """A look behind Content-Encoding gzip."""

    def __init__(self, look: _Look) -> None:
        self._look = look
        self._inflater = zlib.decompressobj(wbits=31)
        self._left = _INFLATED

    def feed(self, piece: bytes) -> None:
        """Raises ValueError when it is not gzip, or unpacks to more than is looked at."""
        while piece:
            try:
                data = self._inflater.decompress(piece, _STEP)
            except zlib.error as error:
                raise ValueError(f"not gzip: {error}") from error
            self._left -= len(data)
            if self._left < 0:
                raise ValueError(f"unpacks to more than {_INFLATED} bytes")
            self._look.feed(data)
            piece = self._inflater.unconsumed_tail
            if self._inflater.eof:  # members follow each other, and decoders read them all (RFC 1952 section 2.2)
                piece, self._inflater = self._inflater.unused_data, zlib.decompressobj(wbits=31)

    def end(self) -> TrueType:
        return self._look.end()


class TypeScanner:
    """A ``Scanner`` that refuses by type, and never finds anything. It is always up."""

    def __init__(self, rules: tuple[TypeRule, ...], name: str = "types") -> None:
        self._rules = rules
        self._name = name

    @property
    def engine(self) -> str:
        return f"types/{_VERSION}"

    @property
    def fingerprint(self) -> str:
        return f"{self.engine}|" + ";".join(
            f"{rule.name},{rule.allow},{sorted(rule.types)},{sorted(rule.content_types)},{sorted(rule.extensions)},{rule.mismatch}"
            for rule in self._rules
        )

    @property
    def health(self) -> ScannerHealth:
        return ScannerHealth(True, self.engine)

    @property
    def grounds(self) -> Grounds:
        return Grounds.HEAD if any(rule.judges_head for rule in self._rules) else Grounds.CODING

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return

    async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
        look = _Look()
        if subject.coding not in _PLAIN and subject.coding not in _PACKED:
            return self._unread(f"Content-Encoding {subject.coding}")
        reader: _Look | _Unpacked = _Unpacked(look) if subject.coding in _PACKED else look
        size, spent = 0, 0.0
        async for piece in chunks:
            started = time.monotonic()
            size += len(piece)
            try:
                reader.feed(piece)
            except ValueError as error:
                return self._unread(str(error))
            spent += time.monotonic() - started
        return self._judge(reader.end(), subject, size, spent)

    def _judge(self, kind: TrueType, subject: Subject, size: int, spent: float) -> ScanResult:
        rule = next((rule for rule in self._rules if rule.holds(kind, subject)), None)
        blocked = rule is not None and not rule.allow
        return ScanResult(
            ScanOutcome.BLOCKED if blocked else ScanOutcome.CLEAN,
            signature=rule.name if rule is not None and blocked else "",
            engine=self.engine,
            ms=round(spent * 1000, 3),
            size=size,
            reason=Reason.FILE_TYPE_BLOCKED if blocked else Reason.OK,
            detail=f"true type {kind.name}",
            scanner=self._name,
        )

    def _unread(self, detail: str) -> ScanResult:
        return ScanResult(ScanOutcome.ERROR, engine=self.engine, reason=Reason.NOT_SCANNABLE, detail=detail, scanner=self._name)
