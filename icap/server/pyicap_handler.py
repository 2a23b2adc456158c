"""pyicap's handler interface on an exchange of ours."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from icap.protocol.errors import LocalProtocolError
from icap.protocol.events import Response
from icap.protocol.headers import Headers
from icap.server.adapt import give_back
from icap.server.exchange import Exchange
from icap.server.keep import Keep
from icap.server.service import bare, istag_field

logger = logging.getLogger(__name__)

WRITE_SIZE: Final = 64 * 1024
"""Bytes of chunks collected before they go out: one write per small answer."""

type HeaderDict = dict[bytes, list[bytes]]


class ICAPError(Exception):
    """What ``raise ICAPError(code)`` means, for handlers that do without pyicap."""

    def __init__(self, code: int = 500, message: str = "") -> None:
        super().__init__(message or str(code))
        self.code = code


class BaseICAPRequestHandler:
    """pyicap's ``BaseICAPRequestHandler``, method for method, on an exchange of ours.

    A handler may derive from this class or from pyicap's. Endpoints are methods named ``NAME_OPTIONS``,
    ``NAME_REQMOD`` and ``NAME_RESPMOD``. All strings are bytes; header names in the dictionaries are in lower case.
    """

    def begin(self, exchange: Exchange, keep: Keep | None, istag: str, loop: asyncio.AbstractEventLoop) -> None:
        """Fill in what pyicap's parser would have."""
        self._exchange, self._keep, self._istag, self._loop = exchange, keep, istag, loop
        self._response: Response | None = None
        self._started = False
        self._chunks: list[bytes] = []
        request = exchange.request
        self.command = request.method.encode()
        self.request_uri = request.uri.encode()
        self.request_version = b"ICAP/1.0"
        self.requestline = b" ".join((self.command, self.request_uri, self.request_version))
        self.servicename = exchange.account.service.encode()
        self.headers = _dictionary((name.encode(), value.encode("latin-1")) for name, value in request.headers)
        self.client_ip = self.headers.get(b"x-client-ip", [b"No X-Client-IP header"])[0]
        self.client_address = (self.client_ip.decode("latin-1"), 0)
        self.preview = self.headers.get(b"preview", [None])[0]
        self.allow = [token.encode() for token in sorted(request.allow)]
        self.enc_req, self.enc_req_headers = _head(request.request_head)
        self.enc_res_status, self.enc_res_headers = _head(request.response_head)
        self.has_body = request.body
        self.ieof = self.eob = self.close_connection = False
        self.icap_headers: HeaderDict = {}
        self.enc_headers: HeaderDict = {}
        self.enc_status: bytes | None = None
        self.enc_request: bytes | None = None
        self.icap_response_code = 0
        self._icap_reason = ""

    # -- the body ------------------------------------------------------------------------------------------------------

    def read_chunk(self) -> bytes:
        """The next piece of the body; empty at the end of the preview and of the body. A body that breaks off raises."""
        if not self.has_body or self.eob:
            self.eob = True
            return b""
        data = self._call(self._exchange.read())
        if data and self._keep is not None:
            self._keep.add(data)
        self.eob = not data
        self.ieof = self._exchange.ieof
        return data

    def cont(self) -> None:
        """100 Continue after the preview; ``read_chunk`` goes on from there."""
        if not self._exchange.waiting:
            raise ICAPError(500, "100 Continue when no client waits for it")
        self._call(self._proceed())
        self.eob = False

    # -- the answer ----------------------------------------------------------------------------------------------------

    def set_icap_response(self, code: int, message: bytes | None = None) -> None:
        self.icap_response_code = code
        self._icap_reason = message.decode("latin-1") if message else ""

    def set_icap_header(self, header: bytes, value: bytes) -> None:
        self.icap_headers.setdefault(header, []).append(value)

    def set_enc_status(self, status: bytes) -> None:
        self.enc_status = status

    def set_enc_request(self, request: bytes) -> None:
        self.enc_request = request

    def set_enc_header(self, header: bytes, value: bytes) -> None:
        self.enc_headers.setdefault(header, []).append(value)

    def send_headers(self, has_body: bool = False) -> None:
        """Fix the head of the answer. It goes out with the first chunks, or at once without a body."""
        if self._response is not None:
            raise LocalProtocolError("a second answer to one request")
        if self.icap_response_code == 204:
            self._read_rest()  # no verdict before the end of what it is about
        start = self.enc_request or self.enc_status
        head = _block(start, self.enc_headers) if start is not None else None
        is_request = self.enc_request is not None
        self._response = Response(
            self.icap_response_code or 200,
            self._icap_fields(),
            head if is_request else None,
            None if is_request else head,
            has_body,
            self._icap_reason,
        )
        if not has_body:
            self._call(self._exchange.answer(self._response))

    def write_chunk(self, data: bytes = b"") -> None:
        """A piece of the answer's body; empty to end it."""
        if self._response is None:
            raise LocalProtocolError("a chunk before the headers")
        if data:
            self._chunks.append(data)
            if sum(map(len, self._chunks)) >= WRITE_SIZE:
                self._call(self._flush(self._response))
        elif self._started:
            self._call(self._finish(self._response))
        else:
            self._call(self._answer(self._response))

    send_chunk = write_chunk

    def no_adaptation_required(self) -> None:
        """The message stays as it is: 204 where the client takes it, otherwise the message itself."""
        if not (self._exchange.waiting and self._exchange.may_send_204):
            self._read_rest()
        self.icap_response_code = 204 if self._exchange.may_send_204 else 200
        self._call(give_back(self._exchange, self._keep, self._icap_fields()))

    def send_error(self, code: int, message: bytes | str | None = None) -> None:
        """An ICAP error without a message in it."""
        self.icap_response_code = code
        reason = message.decode("latin-1") if isinstance(message, bytes) else message or ""
        self._call(self._exchange.answer(bare(code, self._istag, reason=reason)))

    def send_enc_error(
        self, code: int, message: bytes | str | None = None, body: bytes | str = b"", contenttype: bytes | str = b"text/html"
    ) -> None:
        """A whole HTTP answer in the place of the message."""
        body = _bytes(body)
        self.set_icap_response(200)
        self.set_enc_status(b"HTTP/1.1 %d %b" % (code, _bytes(message or "")))
        self.set_enc_header(b"Content-Type", _bytes(contenttype))
        self.set_enc_header(b"Content-Length", b"%d" % len(body))
        self.send_headers(has_body=True)
        if body:
            self.write_chunk(body)
        self.write_chunk(b"")

    # -- the log -------------------------------------------------------------------------------------------------------

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        self.log_message('"%s" %s %s', self.requestline.decode("latin-1"), code, size)

    def log_error(self, format: str, *args: object) -> None:
        self.log_message(format, *args)

    def log_message(self, format: str, *args: object) -> None:
        logger.info("%s", format % args if args else format)

    # -- ours ----------------------------------------------------------------------------------------------------------

    def run(self, method: Callable[[], object]) -> None:
        """In a thread: the endpoint, then what it left undone."""
        try:
            method()
        except Exception as error:
            if self._response is not None or not _is_icap_error(error):
                raise
            self.send_error(getattr(error, "code", 500))
        if self._response is not None and not self._exchange.finished:
            raise LocalProtocolError("an answer without its last chunk")
        if self._started:
            self._read_rest()  # an answer that was given while the body came: the next request stands behind it
        self.log_request(self.icap_response_code)

    def _read_rest(self) -> None:
        """To the end of the body, or of the preview when nobody asked for more."""
        self.eob = False
        while self.read_chunk():
            continue
        if self._exchange.waiting and not self._exchange.may_send_204 and self._response is None:
            self.cont()
            self._read_rest()

    def _icap_fields(self) -> Headers:
        fields = [(_text(name), _text(value)) for name, values in self.icap_headers.items() for value in values]
        headers = Headers(tuple(field for field in fields if field[0].lower() != "encapsulated"))
        # pyicap draws a new random tag for every answer, which makes each look like a change of the service
        return headers if "ISTag" in headers else headers.plus(istag_field(self._istag))

    def _call[T](self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _proceed(self) -> None:
        self._exchange.proceed()

    async def _answer(self, response: Response) -> None:
        await self._exchange.answer(response, self._take())

    async def _flush(self, response: Response) -> None:
        if not self._started:
            self._started = True
            await self._exchange.start(response)
        data = self._take()
        if data:
            await self._exchange.write(data)

    async def _finish(self, response: Response) -> None:
        await self._flush(response)
        await self._exchange.finish()

    def _take(self) -> bytes:
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data


def _is_icap_error(error: Exception) -> bool:
    """Ours or pyicap's; by name, so that pyicap need not be there."""
    return any(base.__name__ == "ICAPError" for base in type(error).__mro__)


def _dictionary(fields: Any) -> HeaderDict:
    found: HeaderDict = {}
    for name, value in fields:
        found.setdefault(name.lower(), []).append(value)
    return found


def _head(block: bytes | None) -> tuple[list[bytes] | None, HeaderDict]:
    """Start line in three parts and fields, as pyicap hands them out; lines that are no fields are left out."""
    if block is None:
        return None, {}
    start, *lines = block.removesuffix(b"\r\n\r\n").split(b"\r\n")
    pairs = (line.split(b":", 1) for line in lines if b":" in line)
    return start.split(b" ", 2), _dictionary((name.strip(), value.strip()) for name, value in pairs)


def _block(start: bytes, headers: HeaderDict) -> bytes:
    lines = [b"%b: %b" % (name, value) for name, values in headers.items() for value in values]
    if any(c in line for line in (start, *lines) for c in (b"\r", b"\n", b"\0")):
        raise LocalProtocolError("a line break inside an encapsulated header line")
    return b"\r\n".join((start, *lines, b"", b""))


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
