"""The bytes of a scan, counted and hashed as they pass."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator


class ScannedBody:
    """Read once, by ``pieces`` or by ``frame``. ``limit`` in bytes: above it reading stops, and ``oversize`` is set."""

    def __init__(self, chunks: AsyncIterator[bytes], limit: int) -> None:
        self._chunks = chunks
        self._limit = limit
        self._digest = hashlib.sha256()
        self._rest = b""
        self.size = 0
        self.given = 0
        """Frames that were handed out."""
        self.ended = False
        """Read to its end; of frames, the last one has been handed out."""
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
        while piece := await self._next():
            yield piece

    async def frame(self, length: int) -> bytes | None:
        """The next ``length`` bytes, or what is left when that is no more: then ``ended`` is set, and there is no further
        frame. None when the body is over the limit."""
        pieces = [self._rest] if self._rest else []
        size = len(self._rest)
        while size <= length and (piece := await self._next()):
            pieces.append(piece)
            size += len(piece)
        if self.oversize:
            return None
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._rest = data[length:]
        self.given += 1
        return data[:length]

    async def _next(self) -> bytes:
        """Empty at the end, and over the limit."""
        async for chunk in self._chunks:
            self._digest.update(chunk)
            self.size += len(chunk)
            if self.size > self._limit:
                self.oversize = True
                return b""
            if chunk:
                return chunk
        self.ended = True
        return b""
