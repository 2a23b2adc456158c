"""Received bytes that are not parsed yet."""

from icap.protocol.errors import LimitExceeded


class ReceiveBuffer:
    """A byte queue that remembers how far it was searched, so a peer that dribbles costs linear time."""

    __slots__ = ("_data", "_searched")

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        self._data += data

    def starts_with(self, prefix: bytes) -> bool:
        return self._data.startswith(prefix)

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes, or what there is when that is less."""
        data = self._data
        taken = bytes(memoryview(data)[:size])
        del data[:size]
        self._searched = 0
        return taken

    def take_through(self, delimiter: bytes, allowed: int, limit: str) -> bytes | None:
        """Bytes up to and including ``delimiter``; None when it has not arrived.

        Raises:
            LimitExceeded: the part including the delimiter is, or must become, longer than ``allowed``.
        """
        end = self._data.find(delimiter, self._searched)
        size = len(self._data) + 1 if end < 0 else end + len(delimiter)
        if size > allowed:
            raise LimitExceeded(limit, allowed)
        if end < 0:
            self._searched = max(0, len(self._data) - len(delimiter) + 1)
            return None
        return self.take(size)
