"""A body whose client does not wait for it: the client was answered with a page, and the body goes on being received and judged
without it, be the connection still there or not. When it is whole and judged it is somebody else's (``Waiting.concluded``).

And the other end of the same: an answer whose body lies in a file (``DELIVERY``).
"""

from mitmproxy.proxy import commands
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import DropStream, HTTPMode, SendHttp
from mitmproxy.proxy.layers.http._events import (
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)

from appliance.engine.inspection import Apart, Await, Awaited, Fate, Inspection, Plan, Waiting
from appliance.engine.judging import JudgingStream
from appliance.engine.passage import Passage

DELIVERY = "arcus.delivery"
"""Where a flow's metadata has the ``Inspection`` whose body is sent as the body of our own answer."""


class ApartStream(JudgingStream):
    """Where no inspection has a ``waiting``, this is the base class."""

    def __init__(self, context: Context, stream_id: int) -> None:
        super().__init__(context, stream_id)
        self._apart: Passage | None = None
        self._broken = ""
        """What the server's transfer ended with, where that is not its end."""
        self._given_up = False
        """A scan that was cancelled is over, and there is no verdict."""

    def _inspect(self, request: bool, plan: Plan) -> CommandGenerator[None]:
        yield from super()._inspect(request, plan)
        passage = self.passages.get(request)
        if not request and passage is not None and passage.inspection.waiting is not None:
            yield commands.RequestWakeup(passage.inspection.waiting.after)

    # -- leaving ---------------------------------------------------------------------------------------------------

    def _trickle(self) -> CommandGenerator[None]:
        passage = self.passages.get(False)
        waiting = passage.inspection.waiting if passage is not None else None
        if passage is None or passage.judged or waiting is None:
            yield from super()._trickle()
            return
        page = waiting.begin(lambda: self._give_up(passage)) if self._may_leave else None
        if page is None:
            passage.inspection.waiting = None
            yield from super()._trickle()
            return
        self._apart = passage
        yield Apart(self.flow, over=False)
        if self.mode is HTTPMode.regular:
            page.headers["Connection"] = "close"  # a CONNECT may follow, which another handler would have to serve
        yield SendHttp(ResponseHeaders(self.stream_id, page, end_stream=False), self.context.client)
        yield SendHttp(ResponseData(self.stream_id, page.raw_content or b""), self.context.client)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    @property
    def _may_leave(self) -> bool:
        """The client has said all of its request, and nothing is under way to it."""
        return self._apart is None and self.client_state == self.state_done

    # -- the verdict, and the end ------------------------------------------------------------------------------------

    def _awaited(self, event: Awaited) -> CommandGenerator[None]:
        passage = self._apart
        if passage is None or passage.command is not event.command:
            yield from super()._awaited(event)
            return
        passage.command = None
        waiting, first = _waiting(passage), not passage.judged
        passage.judged = True
        goes_on = first and not event.failed and not self._given_up and not passage.finished
        if goes_on and waiting is not None and passage.inspection.fate is Fate.DELIVER and not passage.overflow:
            # the service has let it pass before it was there as a whole
            passage.command = Await(self.flow, "responseheaders", lambda _outlet: waiting.arriving(), lambda: False)
            yield passage.command
            return
        yield from self._conclude(passage)

    def _conclude(self, passage: Passage) -> CommandGenerator[None]:
        if not passage.finished and not self._broken:
            yield from self.cut_server("nobody waits for the rest")
        self._apart = None
        self.passages.pop(False, None)
        passage.over.set()
        whole = passage.finished and not passage.overflow and not self._given_up
        if (waiting := _waiting(passage)) is not None:
            waiting.concluded(whole=whole, why=self._broken)
        self.server_state = self.state_done
        self.flow.live = False
        yield Apart(self.flow, over=True)
        yield DropStream(self.stream_id)

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> CommandGenerator[None]:
        passage = self._apart
        if passage is None:
            yield from super().handle_protocol_error(event)
        elif isinstance(event, ResponseProtocolError):
            self._broken = event.message
            self._give_up(passage)

    def _give_up(self, passage: Passage) -> None:
        """The event that follows concludes."""
        self._given_up = True
        if passage.command is not None:
            passage.command.cancel()

    def release(self) -> None:
        """The connection is over, and with it what was to go on without its client."""
        passage, self._apart = self._apart, None
        waiting = _waiting(passage) if passage is not None else None
        super().release()
        if waiting is not None:
            waiting.concluded(whole=False, why="shutting_down")

    # -- an answer of our own ----------------------------------------------------------------------------------------

    def send_response(self, already_streamed: bool = False) -> CommandGenerator[None]:
        delivery: Inspection | None = self.flow.metadata.pop(DELIVERY, None)
        if delivery is None or already_streamed:
            yield from super().send_response(already_streamed)
            return
        passage = self.passages[False] = Passage(delivery, request=False)
        passage.finished = passage.judged = True
        yield from self._send_head(passage)
        yield from self._go_on(passage)


def _waiting(passage: Passage) -> Waiting | None:
    return passage.inspection.waiting
