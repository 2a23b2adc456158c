"""A held file on its way to its client, as the engine sends it (``engine.inspection.Inspection``)."""

import os

from appliance.engine.inspection import Fate
from appliance.patience.desk import Delivery
from icap.client import Body


class Stretch(Body):
    """``size`` octets of a file from ``start``, read where they are. Closes the descriptor with itself."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.ended = True
        self._descriptor, self._start = descriptor, start

    def read(self, offset: int, size: int) -> bytes:
        if self._closed:
            raise ValueError("the body was closed")
        return os.pread(self._descriptor, min(size, self.size - offset), self._start + offset)

    def close(self) -> None:
        if not self._closed:
            super().close()
            os.close(self._descriptor)


class Fetching:
    """It has been judged: nothing is asked of it but its octets."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._sent = 0
        self._told = False
        self.body = self.shown = Stretch(delivery.file.descriptor, delivery.start, delivery.end - delivery.start)
        self.fate, self.why, self.started = Fate.DELIVER, "", False
        self.replacement = self.trickle = self.waiting = None

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> None:
        """It has ended."""

    async def judge(self) -> None:
        """It was judged."""

    def passed(self, size: int) -> None:
        self._sent += size

    async def finished(self) -> None:
        """Everything has gone out. Raises PolicyError: that could not be recorded."""
        self._told = True
        try:
            await self._delivery.finished()
        finally:
            self._delivery.line.close()

    def close(self) -> None:
        """The end, or the client's leave."""
        self.body.close()
        whole = self._sent == self._delivery.end - self._delivery.start
        if not whole and not self._told:
            self._told = True
            self._delivery.left(self._sent)
