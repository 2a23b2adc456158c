"""A worker's end: many questions at once over one connection that is made again whenever it is lost."""

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.errors import InternalError
from appliance.domain.reason import Reason, reason_of
from certs.issued import Issued
from certs.profile import LeafProfile
from certs.scope import Scope
from certs.signing.leaf_desk import leaf_question, read_leaf
from certs.signing.wire import Decoder, Kind, Message, WireError

logger = logging.getLogger(__name__)

DEADLINE = 3.0
"""Seconds for an answer. A signer that died is back in less than one; a client's own patience ends at some ten."""
MAX_WAITING = 2048
"""Questions without an answer; more are refused at once, for they would only wait to fail."""
MAX_SENDS = 2
"""A question that was under way when two signers died in a row may be why they did."""
MAX_UNSENT = 1024 * 1024
"""Octets that a signer which does not read may leave with us."""
BACKOFF = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Seconds between tries to connect."""

type Told = Callable[[Kind, str, float], None]
"""Called for each question with ``ok`` or the failure's reason word, and the seconds it took."""


@dataclass(slots=True)
class _Question:
    message: Message
    answer: asyncio.Future[Message]
    sends: int = 0


class SignerClient:
    """Use from one event loop only. ``connect`` gives a connected socket or raises OSError."""

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        clock: Clock | None = None,
        told: Told = lambda _kind, _result, _seconds: None,
        *,
        deadline: float = DEADLINE,
    ) -> None:
        self._connect = connect
        self._clock = clock or SystemClock()
        self._told = told
        self._deadline = deadline
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Question] = {}
        self._link: _Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._tries = 0
        self._closed = False
        self.trouble = ""
        """Why nobody signs, as far as is known; empty when all is well."""

    def start(self) -> None:
        """Connect before the first question comes."""
        if self._link is None and self._connecting is None and not self._closed:
            self._connecting = asyncio.get_running_loop().create_task(self._reconnect())

    async def close(self) -> None:
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._link is not None:
            self._link.close()

    async def leaf(self, scope: Scope, profile: LeafProfile) -> Issued:
        """As ``Signer`` says."""
        answer = await self.ask(Kind.LEAF, leaf_question(scope, profile))
        try:
            return read_leaf(answer)
        except ValueError as error:
            raise InternalError(Reason.SIGNER_UNAVAILABLE, f"its answer cannot be read: {error}") from error

    async def ask(self, kind: Kind, body: bytes) -> bytes:
        """The answer's body.

        Raises:
            InternalError: with ``signer_unavailable`` when none came in time, else with the signer's reason.
        """
        began = self._clock.monotonic()
        try:
            answer = await self._answer(kind, body)
        except InternalError as error:
            self._told(kind, error.reason.word, self._clock.monotonic() - began)
            raise
        self._told(kind, "ok", self._clock.monotonic() - began)
        return answer

    async def _answer(self, kind: Kind, body: bytes) -> bytes:
        if len(self._waiting) >= MAX_WAITING or self._closed or (self._link is not None and self._link.full):
            raise InternalError(Reason.SIGNER_UNAVAILABLE, f"{len(self._waiting)} questions are waiting for it")
        number = next(self._numbers) & 0xFFFFFFFF
        question = self._waiting[number] = _Question(Message(kind, number, body), asyncio.get_running_loop().create_future())
        try:
            self._send(question)
            async with asyncio.timeout(self._deadline):
                return _body(await question.answer)
        except TimeoutError:
            self.trouble = self.trouble or f"no answer within {self._deadline:g} s"
            raise InternalError(Reason.SIGNER_UNAVAILABLE, self.trouble) from None
        finally:
            del self._waiting[number]

    def _send(self, question: _Question) -> None:
        if self._link is None:
            self.start()
            return
        question.sends += 1
        self._link.send(question.message)

    # -- the connection --

    async def _reconnect(self) -> None:
        link = None
        while link is None:
            await asyncio.sleep(BACKOFF[min(self._tries, len(BACKOFF) - 1)] if self._tries else 0)
            self._tries += 1
            link = await self._link_up()
        self._link, self._connecting, self.trouble = link, None, ""
        for question in list(self._waiting.values()):
            self._send(question)

    async def _link_up(self) -> "_Link | None":
        try:
            link = _Link(self)
            await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=self._connect())
        except OSError as error:
            self.trouble = f"cannot be reached: {error.strerror or error}"
            return None
        except Exception as error:  # whatever it is: who stops trying has no signer until the worker ends
            logger.exception("connecting to the signer")
            self.trouble = f"cannot be reached: {type(error).__name__}"
            return None
        return link if link.open else None

    def answered(self, message: Message) -> None:
        """An answer has come; the one who asked may have gone."""
        self.trouble, self._tries = "", 0
        question = self._waiting.get(message.number)
        if question is not None and not question.answer.done():
            question.answer.set_result(message)

    def lost(self, link: "_Link") -> None:
        """The connection is gone: what is without an answer is asked again, but not for ever."""
        if self._closed or link is not self._link:
            return
        self._link = None
        self.trouble = "the connection to it was lost"
        logger.info("the connection to the signer is gone; connecting again")
        for question in self._waiting.values():
            if question.sends >= MAX_SENDS and not question.answer.done():
                question.answer.set_exception(InternalError(Reason.SIGNER_UNAVAILABLE, self.trouble))
        self.start()


def _body(message: Message) -> bytes:
    if message.kind is Kind.ANSWER:
        return message.body
    text = message.body.decode("utf-8", "replace")
    raise InternalError(reason_of(text) or Reason.INTERNAL_ERROR, text.partition(": ")[2])


class _Link(asyncio.Protocol):
    """``full``: the signer takes nothing, and what it should read is piling up here."""

    def __init__(self, client: SignerClient) -> None:
        self._client = client
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self.full = False

    @property
    def open(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=MAX_UNSENT)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._client.lost(self)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._decoder.feed(data):
                self._client.answered(message)
        except WireError as error:
            logger.error("the signer sent %s; connecting again", error)
            self.close()

    def send(self, message: Message) -> None:
        if self._transport is not None:
            self._transport.write(message.to_bytes())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
