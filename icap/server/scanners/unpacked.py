"""A scanner that is shown what Content-Encoding gzip hides: clamd looks behind it by itself, others take it for the body."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Final

from appliance.domain.reason import Reason
from icap.server.scanners.body import ScannedBody
from icap.server.scanners.scanner import UNKNOWN, Grounds, Scanner, ScannerHealth, ScanOutcome, ScanResult, Subject

_PACKED: Final = frozenset(("gzip", "x-gzip"))
_PLAIN: Final = frozenset(("", "identity"))
MAX_SIZE: Final = 256 * 1024 * 1024
"""Bytes of a body once it is unpacked. What is behind is not known, and so not clean."""
_STEP: Final = 256 * 1024
_MEMBERS: Final = 1000
_MEMBER: Final = 1024
"""Beyond that many members, they hold so many bytes each on average: to begin one costs as much as kilobytes of data."""


class Unpacked:
    """A ``Scanner`` around one that judges what a receiver will see. Behind another coding than gzip there is no verdict."""

    def __init__(self, scanner: Scanner, name: str, max_size: int = MAX_SIZE) -> None:
        self._scanner = scanner
        self._name = name
        self._max_size = max_size

    @property
    def engine(self) -> str:
        return self._scanner.engine

    @property
    def fingerprint(self) -> str:
        return f"{self._scanner.fingerprint}|unpacked"

    @property
    def health(self) -> ScannerHealth:
        return self._scanner.health

    @property
    def grounds(self) -> Grounds:
        return max(self._scanner.grounds, Grounds.CODING)

    async def start(self) -> None:
        await self._scanner.start()

    async def close(self) -> None:
        await self._scanner.close()

    async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
        if subject.coding in _PLAIN:
            return await self._scanner.scan(chunks, subject)
        if subject.coding not in _PACKED:
            return self._unread(f"Content-Encoding {subject.coding[:32]}")
        body = ScannedBody(chunks, limit=1 << 62)
        try:
            result = await self._scanner.scan(_unpack(body, self._max_size), subject)
        except ValueError as error:
            return self._unread(str(error))
        return replace(result, size=body.size, sha256=body.sha256)

    def _unread(self, detail: str) -> ScanResult:
        return ScanResult(ScanOutcome.ERROR, engine=self.engine, reason=Reason.NOT_SCANNABLE, detail=detail, scanner=self._name)


async def _unpack(body: ScannedBody, max_size: int) -> AsyncGenerator[bytes]:
    """Of all members, one after the other (RFC 1952 section 2.2). Raises ValueError: it is not gzip, or too much."""
    inflater, size, members = zlib.decompressobj(wbits=31), 0, 1
    async for piece in body.pieces():
        full = False
        while piece or full:
            if inflater.eof:
                inflater, members = zlib.decompressobj(wbits=31), members + 1
                if members > _MEMBERS + size // _MEMBER:
                    raise ValueError(f"{members} members that hold {size} bytes")
            try:
                data = inflater.decompress(piece, _STEP)
            except zlib.error as error:
                raise ValueError(f"not gzip: {error}") from error
            size += len(data)
            if size > max_size:
                raise ValueError(f"unpacks to more than {max_size} bytes")
            if data:
                yield data
            piece = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if full := len(data) == _STEP and not inflater.eof:
                await asyncio.sleep(0)  # a few octets may unpack to very much: others get their turn
    if body.size and not inflater.eof:
        raise ValueError("not gzip: it ends too early")
