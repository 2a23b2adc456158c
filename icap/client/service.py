"""One ICAP service, as the traffic path sees it."""

import asyncio
import random
import ssl
from dataclasses import replace
from hashlib import sha256

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from icap.client.address import ServiceAddress
from icap.client.author import transfer
from icap.client.body import Body, length_of
from icap.client.breaker import Breaker
from icap.client.features import Features
from icap.client.judgement import Judgement, judge
from icap.client.line import Line
from icap.client.message import Adapted, Message, Method
from icap.client.probe import CLEAN, EICAR, Health, probe_message, read_health
from icap.client.prober import Prober, Rhythm
from icap.client.standing import Standing, State
from icap.client.stats import EventSink, ServiceEvent, ServiceStats
from icap.client.threat import clean_text, noted_headers, scanner_lines
from icap.client.transaction import Answer
from icap.client.tuning import Tuning
from icap.client.way import Way
from icap.protocol import Headers, ServiceOptions, Transfer
from icap.protocol.options import parse_istag

# Hashing 1 MiB takes about a millisecond; what is larger must not hold up the loop.
_HASH_INLINE = 1024 * 1024


class IcapService:
    """Adapts messages through one service, over pooled connections. Use within one event loop.

    ``uri`` is ``icap://host[:port]/service``, ``icaps://`` (TLS from the first byte, by ``tls``) or
    ``icap+unix:///path/to/socket:/service``. Times are in seconds; ``timeout`` is for a whole transaction, waiting for a
    connection included. ``name`` stands in verdicts and events; the URI when absent. ``health``: when to check whether it
    scans; absent: it is not checked, unless somebody calls ``check``.
    """

    def __init__(
        self,
        uri: str,
        *,
        name: str = "",
        health: Rhythm | None = None,
        connect_timeout: float = 2.0,
        timeout: float = 30.0,
        max_connections: int = 64,
        on_event: EventSink | None = None,
        tls: ssl.SSLContext | None = None,
        tuning: Tuning | None = None,
        clock: Clock | None = None,
        way: Way | None = None,
    ) -> None:
        """``way``: to the service, where it is not over connections to ``uri``. Raises ValueError when ``uri`` is none."""
        self.address = ServiceAddress.parse(uri)
        self.name = name or str(self.address)
        self.stats = ServiceStats()
        self._timeout = timeout
        self._on_event: EventSink = on_event if on_event is not None else _ignore
        self._tuning = tuning if tuning is not None else Tuning()
        clock = clock if clock is not None else SystemClock()
        tuning = self._tuning
        breaker = Breaker(tuning.failure_limit, tuning.failure_window, tuning.revival_delay, clock)
        self.standing = Standing(breaker, self.stats, self._tell, checked=health is not None)
        self._prober = Prober(self._probe, self.standing, health, random.random) if health is not None else None
        self._features = Features(self._fetch_options, clock, tuning.default_options_ttl)
        self._way: Way = way or Line(self.address, connect_timeout, max_connections, tls, tuning, self.stats)
        self._streams = 0

    # -- for the traffic path ------------------------------------------------------------------------------------------

    async def adapt(self, message: Message) -> Adapted:
        """Have the service judge and adapt one message. Never raises for what the service or the network does: the
        verdict is then ``Outcome.ERROR`` with its reason, and the caller's policy decides. Cancellation propagates."""
        return await self._adapt(message, probing=False)

    async def check(self) -> Health:
        """Ask for an infected and a clean message; a suspension does not stop this, and success ends it."""
        try:
            health = await self._probe()
        except ScanError as error:
            self.standing.failed(error)
            health = Health(False, str(error), reason=error.reason)
        self.standing.judged(health)
        self._tell("check", "ok" if health.ok else health.detail)
        return health

    async def greet(self) -> Health:
        """Ask for its options: whether it is there, not whether it scans."""
        started = asyncio.get_running_loop().time()
        try:
            options = await self._options(started + self._timeout, probing=True)
        except ScanError as error:
            return Health(False, str(error), reason=error.reason)
        ms = (asyncio.get_running_loop().time() - started) * 1000
        return Health(True, f"{options.service or self.name} does {', '.join(sorted(options.methods))}", ms)

    @property
    def checked(self) -> bool:
        """Whether it is to be checked now and then."""
        return self._prober is not None

    def start(self) -> None:
        """Begin to check whether the service scans, if it is to be checked; the first message would do the same."""
        if self._prober is not None:
            self._prober.start()

    @property
    def connection_limit(self) -> int:
        """Connections allowed now: the configured number, or fewer when the service says so."""
        return self._way.limit

    async def close(self) -> None:
        """Close the connections; transactions under way end as they will."""
        if self._prober is not None:
            await self._prober.close()
        await self._features.close()
        self._way.close()

    async def _probe(self) -> Health:
        """Raises ScanError when there are no options that say which method is to be tried."""
        options = await self._options(asyncio.get_running_loop().time() + self._timeout, probing=True)
        method: Method = "RESPMOD" if "RESPMOD" in options.methods else "REQMOD"
        infected = await self._adapt(probe_message(method, EICAR), probing=True)
        clean = await self._adapt(probe_message(method, CLEAN), probing=True)
        return read_health(infected, clean)

    # -- one message ---------------------------------------------------------------------------------------------------

    async def _adapt(self, message: Message, *, probing: bool) -> Adapted:
        if message.method == "RESPMOD" and message.response_head is None:
            raise ValueError("RESPMOD without a response head")
        loop = asyncio.get_running_loop()
        started = loop.time()
        answer: Answer | None = None
        try:
            options = await self._options(started + self._timeout, probing)
            _check_method(message, options)
            if self.standing.on_trial and not probing:
                self.standing.recovered()
            if self._tuning.honour_transfer_ignore and transfer(message, options) is Transfer.IGNORE:
                return await self._finish(message, started, None, Judgement(Outcome.SKIPPED), "Transfer-Ignore")
            if isinstance(message.body, Body):
                answer, judgement = await self._streamed(message, message.body, options)
            else:
                answer = await self._way.ask(message, options, started + self._timeout)
                self._note(answer)
                judgement = judge(message, answer, allow_206=self._tuning.allow_206)
        except ScanError as error:
            broken_off = isinstance(message.body, Body) and error is message.body.error
            if not probing and not broken_off:
                self.standing.failed(error)
            return await self._finish(message, started, answer, Judgement(Outcome.ERROR, error.reason), error.detail)
        return await self._finish(message, started, answer, judgement, judgement.detail)

    async def _streamed(self, message: Message, body: Body, options: ServiceOptions) -> tuple[Answer, Judgement]:
        """A body that may still be arriving. At most half of the connections go to such bodies at a time, so that slow
        uploads cannot take all: above that, one is waited for until it is complete."""
        if self._streams >= max(1, self._way.limit // 2):
            await body.complete()
        await body.available(max(1, options.preview or 0))
        streaming = not body.ended
        self._streams += streaming
        try:
            deadline = asyncio.get_running_loop().time() + self._timeout
            answer = await self._way.ask(message, options, deadline)
        finally:
            self._streams -= streaming
        self._note(answer)
        try:
            judgement = judge(message, answer)
        except ScanError:
            if isinstance(answer.body, Body):
                answer.body.close()
            raise
        return answer, _settle(answer.body, judgement)

    # -- the service's state -------------------------------------------------------------------------------------------

    async def _options(self, deadline: float, probing: bool) -> ServiceOptions:
        standing = self.standing
        admitted = (probing or standing.state is State.UP) and not standing.on_trial
        if admitted and (options := self._features.current()) is not None:
            return options
        try:
            async with asyncio.timeout_at(deadline):
                if not probing:
                    self.start()
                    await self.standing.admit()
                if self.standing.on_trial:
                    self._features.forget()
                return await self._features.get()
        except TimeoutError as error:
            raise ScanError(Reason.ICAP_TIMEOUT, "no answer to OPTIONS") from error

    async def _fetch_options(self) -> ServiceOptions:
        deadline = asyncio.get_running_loop().time() + self._tuning.options_timeout
        answer = await self._way.question(deadline)
        if answer.status != 200:
            raise ScanError(Reason.ICAP_ERROR, f"status {answer.status} in answer to OPTIONS")
        options = ServiceOptions.parse(answer.headers)
        if not options.methods or not options.istag:
            raise ScanError(Reason.ICAP_PROTOCOL, "OPTIONS without Methods or ISTag")
        self._apply(options)
        return options

    def _apply(self, options: ServiceOptions) -> None:
        self.stats.options_fetched += 1
        self._way.allow(options.max_connections)
        self.stats.istag = options.istag
        self._tell("options", f"methods {', '.join(sorted(options.methods))}; preview {options.preview}")

    def _note(self, answer: Answer) -> None:
        """Learn from an answer: a new ISTag means that the service's state, and perhaps its options, changed."""
        istag = parse_istag(answer.headers)
        if istag and istag != self.stats.istag:
            self.stats.istag = istag
            self._features.renew()
            self._tell("istag", istag)
        if answer.status == 503:
            # More connections than the service takes: keep to what it bears until its options are read again, soon.
            self._way.back_off()
            self._features.renew()
        elif answer.status in (404, 405):
            self._features.forget()

    def _tell(self, kind: str, detail: str = "", /) -> None:
        self._on_event(ServiceEvent(self.name, kind, detail))

    # -- the verdict ---------------------------------------------------------------------------------------------------

    async def _finish(
        self, message: Message, started: float, answer: Answer | None, judgement: Judgement, detail: str = ""
    ) -> Adapted:
        ms = (asyncio.get_running_loop().time() - started) * 1000
        self.stats.transactions += 1
        self.stats.outcomes[judgement.outcome.value] += 1
        headers = answer.headers if answer is not None else Headers()
        istag = parse_istag(headers) or self.stats.istag
        verdict = ScanVerdict(
            service=self.name,
            method=message.method,
            outcome=judgement.outcome,
            reason=judgement.reason,
            signature=judgement.signature,
            icap_status=answer.status if answer is not None else 0,
            istag=istag,
            engine=clean_text(headers.first("X-Arcus-Scanner") or istag),
            ms=ms,
            size=length_of(message.body),
            sha256=message.sha256 or (answer.sha256 if answer is not None else "") or await _digest(message.body),
            detail=clean_text(detail),
            headers=noted_headers(headers),
            scanners=scanner_lines(headers),
            unscanned=clean_text(headers.first("X-Arcus-Unscanned") or ""),
            by_body=headers.first("X-Arcus-Judged") == "body",
        )
        return Adapted(verdict, judgement.kind, judgement.head, judgement.body)


def _check_method(message: Message, options: ServiceOptions) -> None:
    if message.method not in options.methods:
        raise ScanError(Reason.ICAP_ERROR, f"the service does not do {message.method}")


def _settle(body: bytes | Body | None, judgement: Judgement) -> Judgement:
    """Close an answer's body that nobody is to use; one that is in memory goes on as plain bytes."""
    if not isinstance(body, Body) or (judgement.body is body and body.spilled):
        return judgement
    content = body.read(0, body.size)
    body.close()
    return replace(judgement, body=content) if judgement.body is body else judgement


async def _digest(body: bytes | Body | None) -> str:
    if isinstance(body, Body):
        return body.sha256 if body.ended and body.size else ""
    if not body:
        return ""
    if len(body) <= _HASH_INLINE:
        return sha256(body).hexdigest()
    return await asyncio.to_thread(lambda: sha256(body).hexdigest())


def _ignore(event: ServiceEvent) -> None:
    """Nobody listens."""
