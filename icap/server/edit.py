"""A service that changes the head of messages, or the beginning of their bodies, and need not send the rest back: 206.

RFC 3507 has no such answer; it is draft-icap-ext-partial-content's, which squid and c-icap speak: the adapted head, the new
beginning, and ``0; use-original-body=OFFSET``.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from appliance.domain.errors import ScanError
from icap.protocol.events import Request, Response
from icap.protocol.headers import Headers
from icap.protocol.httphead import HttpHead, end_to_end, parse_head
from icap.server.adapt import EchoService, Offer
from icap.server.exchange import Exchange
from icap.server.keep import Keep, KeepBudget
from icap.server.service import istag_field


@dataclass(frozen=True, slots=True)
class Edit:
    """``head`` in the place of the message's head, ``beginning`` in the place of the first ``replaced`` bytes of its body.

    ``replaced`` is at most the length of the beginning that the editor was shown.
    """

    head: HttpHead
    beginning: bytes = b""
    replaced: int = 0


type Editor = Callable[[Request, HttpHead, bytes], Edit | None]
"""Is shown the request, the head of its message, and the beginning of the body; None leaves the message as it is."""


class EditService(EchoService):
    """Applies ``editor``. A client without 206 gets the whole message in a 200."""

    def __init__(self, offer: Offer, keep: KeepBudget, methods: frozenset[str], editor: Editor) -> None:
        super().__init__(replace(offer, allow=frozenset(("204", "206"))), keep, methods)
        self._editor = editor

    def at_once(self, request: Request, may_send_204: bool) -> Response | None:
        return None

    def _kept(self, exchange: Exchange) -> contextlib.AbstractContextManager[Keep | None]:
        """The rest of a body is needed by clients without 206, and only by them."""
        whole = exchange.request.body and not {"204", "206"} <= exchange.request.allow
        return Keep(self._keep) if whole else contextlib.nullcontext()

    async def _serve(self, exchange: Exchange, keep: Keep | None) -> None:
        try:
            await self._edit(exchange, keep)
        except ScanError as error:
            await self.refuse(exchange, error.reason, error.detail)

    async def _edit(self, exchange: Exchange, keep: Keep | None) -> None:
        """Raises ScanError when the body cannot be kept for a client that needs it back."""
        request = exchange.request
        block = request.request_head if request.method == "REQMOD" else request.response_head
        beginning = await self._beginning(exchange, keep)
        edit = self._editor(request, parse_head(block), beginning) if block is not None else None
        if edit is None:
            await self._read_to_end(exchange, keep)
            await self.unmodified(exchange, keep)
        elif request.body and exchange.may_send_206 and (exchange.waiting or exchange.complete or keep is None):
            await self._answer_206(exchange, edit, keep)
        else:
            await self._read_to_end(exchange, keep)
            await self._answer_200(exchange, edit, keep)

    async def _beginning(self, exchange: Exchange, keep: Keep | None) -> bytes:
        """The preview to its end, or as much as we offer to look at of a body without one."""
        found = bytearray()
        wanted = self._offer.preview if exchange.request.preview is None else exchange.request.preview + 1
        while not (exchange.complete or exchange.waiting) and len(found) < wanted:
            found += _kept_piece(await exchange.read(), keep)
        return bytes(found)

    async def _read_to_end(self, exchange: Exchange, keep: Keep | None) -> None:
        async for piece in exchange.body():
            _kept_piece(piece, keep)

    async def _answer_206(self, exchange: Exchange, edit: Edit, keep: Keep | None) -> None:
        if not exchange.waiting:
            await self._read_to_end(exchange, keep)
        await exchange.partial(self._response(exchange, 206, edit), edit.beginning, edit.replaced)

    async def _answer_200(self, exchange: Exchange, edit: Edit, keep: Keep | None) -> None:
        response = self._response(exchange, 200, edit)
        if keep is None:
            await exchange.answer(response, edit.beginning)
        else:
            await exchange.stream(response, _spliced(edit, keep))

    def _response(self, exchange: Exchange, status: int, edit: Edit) -> Response:
        head = bytes(_relengthed(edit))
        request, response = (head, None) if exchange.request.method == "REQMOD" else (None, head)
        return Response(status, Headers((istag_field(self.istag),)), request, response, exchange.request.body)


def _kept_piece(piece: bytes, keep: Keep | None) -> bytes:
    if keep is not None:
        keep.add(piece)
    return piece


async def _spliced(edit: Edit, keep: Keep) -> AsyncIterator[bytes]:
    if edit.beginning:
        yield edit.beginning
    async for piece in keep.pieces(edit.replaced):
        yield piece


def _relengthed(edit: Edit) -> HttpHead:
    """The head as it goes back, its Content-Length that of the edited body."""
    length, fields = edit.head.content_length, end_to_end(edit.head.fields)
    if length is not None:
        told = b"%d" % (length - edit.replaced + len(edit.beginning))
        fields = tuple((name, told if name.lower() == b"content-length" else value) for name, value in fields)
    return HttpHead(edit.head.start_line, (*fields, (b"Via", b"ICAP/1.0 arcus")))
