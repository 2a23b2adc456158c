"""The type scanner: rules about what a body is, and what it is said to be."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from appliance.domain.reason import Reason
from icap.server.scanners.containers import Container, container
from icap.server.scanners.declared import mismatch
from icap.server.scanners.magic import HEAD, TrueType, true_type
from icap.server.scanners.scanner import UNKNOWN, Grounds, ScannerHealth, ScanOutcome, ScanResult, Subject

_VERSION: Final = 1
"""Of the tables: another number when verdicts may change with a release."""


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


class TypeScanner:
    """A ``Scanner`` that refuses by type, and never finds anything. It is always up. For packed bodies, see ``unpacked``."""

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
        return Grounds.HEAD if any(rule.judges_head for rule in self._rules) else Grounds.BODY

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return

    async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
        look, size, spent = _Look(), 0, 0.0
        async for piece in chunks:
            started = time.monotonic()
            size += len(piece)
            look.feed(piece)
            spent += time.monotonic() - started
        return self._judge(look.end(), subject, size, spent)

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
