"""The bytes of a scan, counted and hashed as they pass."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator


class ScannedBody:
    """Read once, by ``pieces`` or ``frames``. ``limit`` in bytes: above it reading stops, and ``oversize`` is set."""

    def __init__(self, chunks: AsyncIterator[bytes], limit: int) -> None:
        self._chunks = chunks
        self._limit = limit
        self._digest = hashlib.sha256()
        self.size = 0
        self.given = 0
        """Frames that were handed out."""
        self.ended = False
        self.oversize = False

    @property
    def digest(self) -> bytes:
        """SHA-256 of what has passed."""
        return self._digest.digest()

    @property
    def sha256(self) -> str:
        """In hex; empty when the body was not read to its end."""
        return self._digest.hexdigest() if self.ended else ""

    async def pieces(self) -> AsyncGenerator[bytes]:
        """As they come. Stops early when over the limit."""
        async for chunk in self._chunks:
            self._digest.update(chunk)
            self.size += len(chunk)
            if self.size > self._limit:
                self.oversize = True
                return
            yield chunk
        self.ended = True

    async def frames(self, length: int) -> AsyncGenerator[bytes]:
        """Frames of exactly ``length`` bytes, then a last one that may be shorter or empty. Stops early when over the limit."""
        buffer = bytearray()
        async for chunk in self.pieces():
            buffer += chunk
            while len(buffer) > length:
                self.given += 1
                yield bytes(buffer[:length])
                del buffer[:length]
        if self.ended:
            self.given += 1
            yield bytes(buffer)
