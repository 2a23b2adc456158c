"""One body on its way through an inspection."""

import asyncio

from mitmproxy.connection import Connection

from appliance.engine.inspection import Await, Inspection, Outlet
from icap.client.body import Reader


class Passage:
    """``sent``: bytes that went on. ``flowing``: judged, and everything held has gone on: what comes passes straight."""

    def __init__(self, inspection: Inspection, *, request: bool) -> None:
        self.inspection = inspection
        self.request = request
        self.sent = 0
        self.overflow: list[bytes] = []
        """What the inspection did not take; it goes on after what it took, or not at all."""
        self.finished = False
        self.judged = False
        self.flowing = False
        self.over = asyncio.Event()
        """``flowing``, or the end: nothing of the source is held back any more."""
        self.command: Await | None = None
        self.reader: Reader | None = None

    def arrived(self, data: bytes) -> bool:
        """Keep ``data``. False: it did not fit, and nothing should be read before the verdict."""
        rest = data if self.overflow else self.inspection.feed(data)
        if rest:
            self.overflow.append(rest)
        return not self.overflow

    def end(self) -> None:
        self.finished = True
        if not self.overflow:
            self.inspection.end()

    def drop_rest(self) -> None:
        """Something else goes in its place: of this source nothing more is wanted."""
        self.finished = True
        self.overflow.clear()

    @property
    def idle(self) -> bool:
        """The judging waits for bytes of the source."""
        body = self.inspection.shown
        return not body.ended and body.error is None and not body.pressed

    def begin(self) -> None:
        """Read from what is to go on, from where the client is."""
        body = self.inspection.replacement or self.inspection.body
        self.reader = body.reader(self.sent)

    @property
    def caught_up(self) -> bool:
        reader = self.reader
        body = self.inspection.replacement or self.inspection.body
        return reader is None or reader.at >= body.size

    async def piece(self, outlet: Outlet, sink: Connection, stream_id: int) -> bytes:
        """The next bytes that are there, once the sink has room for them."""
        await outlet.room(sink, stream_id)
        return b"" if self.reader is None or self.caught_up else await self.reader.next()

    def flow(self) -> list[bytes]:
        """Everything held has gone on; what is left is what the inspection did not take."""
        rest, self.overflow = self.overflow, []
        self.flowing = True
        self.over.set()
        return rest

    def close(self) -> None:
        if self.command is not None:
            self.command.cancel()
        if self.reader is not None:
            self.reader.close()
        self.over.set()
        self.inspection.close()
