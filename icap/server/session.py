"""The requests of one connection, one after the other: routing, errors, and how the connection ends."""

import logging
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import urlsplit

from appliance.domain.reason import Reason
from icap.protocol.errors import LocalProtocolError, RemoteProtocolError, TruncatedMessage
from icap.protocol.events import OPTIONS, ConnectionClosed, Data, Request, RequestEvent
from icap.protocol.server import Reading, Writing
from icap.server.channel import Channel, ClientGone, Phase, PhaseTimeout
from icap.server.exchange import Account, Exchange
from icap.server.scanners.scanner import Cancel
from icap.server.service import Service, Services, Watcher, bare

logger = logging.getLogger(__name__)

_CLOSE = ("Connection", "close")


class Session:
    def __init__(self, channel: Channel, services: Services, watcher: Watcher, stopping: Callable[[], bool]) -> None:
        self._channel = channel
        self._services = services
        self._watcher = watcher
        self._stopping = stopping
        self._exchange: Exchange | None = None
        self._cancel: Cancel | None = None
        """Of the exchange that a service has begun to answer without the task."""
        channel.at_once = self._at_once

    @property
    def busy(self) -> bool:
        """A request is being served."""
        return self._exchange is not None

    async def run(self) -> None:
        """Serve until the connection ends. Raises nothing but CancelledError."""
        channel = self._channel
        try:
            while await self._serve_next():
                channel.advance()
            await channel.linger()
        except (ClientGone, TruncatedMessage):
            channel.abort()  # half a request has no verdict, and nobody is there to read one
        except PhaseTimeout as error:
            await self._fail(408, error.phase.value)
        except RemoteProtocolError as error:
            await self._fail(error.status, error.detail)
        except Exception:
            logger.exception("a service failed")
            await self._fail(500, Reason.INTERNAL_ERROR.word)
        finally:
            self._finish()
            channel.close()

    async def refuse(self) -> None:
        """One answer without reading anything, then the end."""
        self._channel.send(bare(503, "arcus", _CLOSE))
        await self._channel.linger()

    async def _serve_next(self) -> bool:
        """One request; whether another may follow."""
        channel = self._channel
        request = await self._next_request()
        if request is None:
            return False
        exchange = self._exchange = Exchange(request, channel, self._stopping)
        await self._route(exchange)
        if not exchange.answered:
            raise LocalProtocolError("a service gave no answer")
        self._finish()
        return channel.core.complete and not channel.core.must_close

    def _at_once(self, events: list[RequestEvent]) -> bool:
        """Answer a whole request here and now, when its service can. Everything else, errors too, is the task's."""
        request, core = events[0], self._channel.core
        if type(request) is not Request or core.reading is not Reading.DONE or core.must_close or self._stopping():
            return False
        path = _service_name(request.uri) if request.headers.single("Host") else ""
        service = self._services.get(path)
        if service is None or request.method not in service.methods:
            return False
        response = service.at_once(request, core.may_send_204)
        if response is None:
            return self._begin(request, events[1:], path, service)
        self._channel.send(response)
        received = sum([len(event.data) for event in events if type(event) is Data])
        client = request.headers.first("X-Client-IP") or ""
        self._watcher.finished(Account(path, request.method, client, response.status, received))
        return True

    def _begin(self, request: Request, rest: list[RequestEvent], path: str, service: Service) -> bool:
        """Have the service answer it as soon as it can, unless it needs the task for that."""
        if len(rest) != 2 or type(body := rest[0]) is not Data:
            return False
        exchange = Exchange(request, self._channel, self._stopping)
        exchange.account.service = path
        exchange.has_come(len(body.data))
        self._cancel = service.begin(exchange, body.data, self._settle)
        if self._cancel is None:
            return False
        self._exchange = exchange
        return True

    def _settle(self, answer: Callable[[], None]) -> None:
        self._cancel = None
        try:
            answer()
        except Exception as error:  # the task says so to the client, and to the log
            self._channel.fail(error)
            return
        self._finish()
        self._channel.answered()

    async def _next_request(self) -> Request | None:
        """None when the client has closed or was idle for too long."""
        try:
            event = await self._channel.receive(Phase.IDLE, self._channel.settings.idle_timeout)
        except PhaseTimeout as error:
            if error.phase is Phase.IDLE:
                return None
            raise
        if isinstance(event, ConnectionClosed):
            return None
        if not isinstance(event, Request):
            raise LocalProtocolError(f"{type(event).__name__} between requests")
        return event

    async def _route(self, exchange: Exchange) -> None:
        request = exchange.request
        path = _path(request)
        exchange.account.service = path
        service = self._services.get(path)
        if service is None:
            await exchange.answer(bare(404))
        elif request.method == OPTIONS:
            async for _ in exchange.body():
                continue
            await service.options(exchange)
        elif request.method not in service.methods:
            await exchange.answer(bare(405, service.istag))
        else:
            await service.serve(exchange)

    async def _fail(self, status: int, detail: str) -> None:
        """Answer when that is still possible, and end the connection."""
        channel, exchange = self._channel, self._exchange
        if exchange is not None:
            exchange.account.reason = exchange.account.reason or detail
        if channel.core.writing is not Writing.IDLE or channel.gone:
            channel.abort()  # an answer is under way and will not be whole: the client must see that
            return
        if exchange is not None:
            exchange.account.status = status
        channel.send(bare(status, self._istag(), _CLOSE, *_error_field(status)))
        await channel.linger()

    def _istag(self) -> str:
        service: Service | None = self._services.get(self._exchange.account.service) if self._exchange else None
        return service.istag if service else "arcus"

    def _finish(self) -> None:
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()
            self._watcher.finished(exchange.account)


def _path(request: Request) -> str:
    """The service's name. The host is not compared: a server behind another name is still this server.

    Raises:
        RemoteProtocolError: the URI is not absolute, or there is no Host (RFC 3507 section 4.2 and 4.3.2).
    """
    if not request.headers.single("Host"):
        raise RemoteProtocolError("no Host header")
    return _service_name(request.uri)


@lru_cache(256)
def _service_name(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise RemoteProtocolError(f"not a URI: {uri[:80]!r}") from error
    if parts.scheme not in ("icap", "icaps") or not parts.netloc:
        raise RemoteProtocolError(f"not an absolute ICAP URI: {uri[:80]!r}")
    return parts.path.strip("/")


def _error_field(status: int) -> tuple[tuple[str, str], ...]:
    return (("X-Arcus-Error", Reason.INTERNAL_ERROR.word),) if status == 500 else ()
