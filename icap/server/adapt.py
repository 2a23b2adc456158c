"""The services of the server: ``reqmod`` and ``respmod`` scan, ``echo`` gives everything back."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Final

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from icap.protocol.events import Request, Response
from icap.protocol.headers import Field, Headers
from icap.protocol.options import ServiceOptions
from icap.server.exchange import PIECE, Exchange
from icap.server.findings import JUDGED_BY_BODY, facts
from icap.server.heads import returned_head
from icap.server.keep import Keep, KeepBudget, tee
from icap.server.ruling import Ruling, blocked, no_verdict, undecided
from icap.server.scanners.scanner import UNKNOWN, Cancel, Prompt, Scanner, ScanOutcome, ScanResult
from icap.server.service import Settle, istag_field, make_istag
from icap.server.settings import ServerSettings
from icap.server.subject import subject_of

_TOO_EARLY: Final = "the scanner says clean before the end of the body"

type Ask = Callable[[], Request]


@dataclass(frozen=True, slots=True)
class Offer:
    """What OPTIONS says. ``preview`` in bytes, ``ttl`` in seconds."""

    title: str
    preview: int = 1024
    max_connections: int = 512
    ttl: int = 300
    allow: frozenset[str] = frozenset(("204",))
    include: frozenset[str] = frozenset(("X-Client-IP", "X-Subscriber-ID"))
    """The personal headers that are used: they go into the log line of a find."""

    def fields(self, methods: frozenset[str], istag: str) -> tuple[Field, ...]:
        options = ServiceOptions(
            methods=methods,
            istag=istag,
            ttl=self.ttl,
            preview=self.preview,
            max_connections=self.max_connections,
            allow=self.allow,
            service=f"Arcus {self.title}",
            include=self.include,
            transfer_preview=frozenset("*"),
        )
        return (*options.fields(), ("Date", formatdate(usegmt=True)))


class EchoService:
    """Reads every message to its end and gives it back unmodified."""

    def __init__(self, offer: Offer, keep: KeepBudget, methods: frozenset[str]) -> None:
        self._offer = offer
        self._keep = keep
        self._methods = methods
        self._unmodified: tuple[str, Response] = ("", Response(204))

    _of_no_body: tuple[Field, ...] = ()
    """What an answer to a message without a body says beside the ISTag."""

    @property
    def methods(self) -> frozenset[str]:
        return self._methods

    @property
    def istag(self) -> str:
        return make_istag(self._offer.title)

    def at_once(self, request: Request, may_send_204: bool) -> Response | None:
        return self._no_content() if may_send_204 else None

    def begin(self, exchange: Exchange, body: bytes, settle: Settle) -> Cancel | None:
        return None

    def _no_content(self) -> Response:
        """One object for as long as the ISTag stays."""
        istag = self.istag
        if self._unmodified[0] != istag:
            self._unmodified = (istag, Response(204, Headers((istag_field(istag), *self._of_no_body))))
        return self._unmodified[1]

    def offered(self) -> Response:
        """What OPTIONS is answered."""
        return Response(200, Headers(self._offer.fields(self._methods, self.istag)))

    async def options(self, exchange: Exchange) -> None:
        await exchange.answer(self.offered())

    async def serve(self, exchange: Exchange) -> None:
        with self._kept(exchange) as keep:
            await self._serve(exchange, keep)

    def _kept(self, exchange: Exchange) -> contextlib.AbstractContextManager[Keep | None]:
        """A copy is needed by the client that does not allow 204; a preview alone allows it only until 100 Continue."""
        needed = exchange.request.body and "204" not in exchange.request.allow
        return Keep(self._keep) if needed else contextlib.nullcontext()

    async def _serve(self, exchange: Exchange, keep: Keep | None) -> None:
        try:
            if exchange.request.body:
                ruling = await self.judge(lambda: exchange.request, self._body(exchange, keep), lambda: exchange.complete)
            else:
                ruling = self.without_body()
            _note(exchange, ruling)
            if ruling.response.status == 204 and not exchange.may_send_204:
                await give_back(exchange, keep, ruling.response.headers)
            else:
                await exchange.answer(ruling.response, ruling.page)
        except ScanError as error:
            await self.refuse(exchange, error.reason, error.detail)

    def without_body(self) -> Ruling:
        """What becomes of a message that has no body."""
        return Ruling(self._no_content())

    async def judge(self, ask: Ask, pieces: AsyncIterator[bytes], complete: Callable[[], bool]) -> Ruling:
        """What becomes of a message with the body ``pieces``. ``ask``: for the request, where more counts than the body.
        ``complete``: whether they were taken to their end.

        Raises:
            ScanError: what ``pieces`` raises.
        """
        async for _ in pieces:
            continue
        return Ruling(self._no_content())

    def _body(self, exchange: Exchange, keep: Keep | None) -> AsyncIterator[bytes]:
        return exchange.body() if keep is None else tee(exchange.body(), keep)

    async def unmodified(self, exchange: Exchange, keep: Keep | None, *fields: Field) -> None:
        """204 where the client allows it, otherwise the message as it came."""
        headers = Headers((istag_field(self.istag), *fields))
        try:
            await give_back(exchange, keep, headers)
        except ScanError as error:
            await self.refuse(exchange, error.reason, error.detail)

    async def refuse(self, exchange: Exchange, reason: Reason, detail: str) -> None:
        """There is no verdict, and the client's policy decides."""
        exchange.account.reason = reason.word
        await exchange.answer(no_verdict(self.istag, reason, detail))


def _note(exchange: Exchange, ruling: Ruling) -> None:
    exchange.account.scan, exchange.account.reason = ruling.scan, ruling.reason


async def give_back(exchange: Exchange, keep: Keep | None, headers: Headers) -> None:
    """204 where the client allows it, otherwise the message as it came. ``exchange`` has been read to its end, or waits.

    Raises:
        ScanError: the client can take neither.
    """
    request = exchange.request
    if exchange.may_send_204:
        await exchange.answer(Response(204, headers))
        return
    is_request = request.method == "REQMOD"
    head = request.request_head if is_request else request.response_head
    if head is None:
        # Nothing to give back but the body, and an answer needs a head (RFC 3507 section 4.4.1).
        raise ScanError(Reason.ICAP_PROTOCOL, "no HTTP header and no Allow: 204")
    head = returned_head(head)
    response = Response(200, headers, head if is_request else None, None if is_request else head, request.body)
    if keep is None or keep.size <= PIECE:
        body = b"" if keep is None else b"".join([piece async for piece in keep.pieces()])
        await exchange.answer(response, body)
    else:
        await exchange.stream(response, keep.pieces())


class ScanService(EchoService):
    """Hands every body to a scanner while it arrives. What could not be scanned is never called clean."""

    _of_no_body = (JUDGED_BY_BODY,)  # no scanner sees it, whatever its head says

    def __init__(self, offer: Offer, keep: KeepBudget, methods: frozenset[str], scanner: Scanner) -> None:
        super().__init__(offer, keep, methods)
        self._scanner = scanner
        self._prompt = scanner if isinstance(scanner, Prompt) else None

    @property
    def istag(self) -> str:
        return make_istag(f"{self._offer.title}|{self._scanner.fingerprint}")

    def at_once(self, request: Request, may_send_204: bool) -> Response | None:
        return None if request.body else super().at_once(request, may_send_204)

    def begin(self, exchange: Exchange, body: bytes, settle: Settle) -> Cancel | None:
        if self._prompt is None or not exchange.may_send_204:
            return None

        def answer(result: ScanResult) -> None:
            ruling = self._rule(lambda: exchange.request, result, lambda: True)
            _note(exchange, ruling)
            exchange.say(ruling.response, ruling.page)

        return self._prompt.begin(body, lambda result: settle(lambda: answer(result)))

    async def judge(self, ask: Ask, pieces: AsyncIterator[bytes], complete: Callable[[], bool]) -> Ruling:
        result = await self._scanner.scan(pieces, subject_of(ask()) if self._scanner.grounds else UNKNOWN)
        return self._rule(ask, result, complete)

    def _rule(self, ask: Ask, result: ScanResult, complete: Callable[[], bool]) -> Ruling:
        if result.outcome in (ScanOutcome.INFECTED, ScanOutcome.BLOCKED):
            return blocked(ask(), result, self.istag, self._facts(result))
        if result.outcome is not ScanOutcome.CLEAN:
            return undecided(result, self.istag, self._facts(result))
        if not complete():
            return undecided(
                replace(result, outcome=ScanOutcome.ERROR, reason=Reason.SCANNER_ERROR, detail=_TOO_EARLY), self.istag
            )
        return Ruling(Response(204, Headers((istag_field(self.istag), *self._facts(result)))), scan=result)

    def _facts(self, result: ScanResult) -> tuple[Field, ...]:
        return facts(result, self._scanner.grounds)


def standard_services(scanner: Scanner, settings: ServerSettings, preview: int = 1024) -> dict[str, EchoService]:
    """``reqmod``, ``respmod`` and ``echo``, by the path of their URI. ``preview`` in bytes, as OPTIONS offers it."""
    reqmod, respmod = frozenset(("REQMOD",)), frozenset(("RESPMOD",))
    keep = KeepBudget.of(settings)

    def offer(title: str) -> Offer:
        return Offer(title, preview, settings.max_connections)

    return {
        "reqmod": ScanService(offer("request scan"), keep, reqmod, scanner),
        "respmod": ScanService(offer("response scan"), keep, respmod, scanner),
        "echo": EchoService(offer("echo"), keep, reqmod | respmod),
    }
