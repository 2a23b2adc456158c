"""The signer's end: takes connections of our own processes, and answers what it has a handler for."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from appliance.domain.errors import InternalError, TaskError
from appliance.domain.reason import Reason
from certs.signing.place import peer_user
from certs.signing.wire import MAX_BODY, Decoder, Kind, Message, WireError

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 300
"""There are at most 256 workers, each with one."""
MAX_PENDING = 256
"""Questions of one connection under way; the next are not read before some are answered."""
_MAX_DETAIL = 512
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
REST = 0.5
"""Seconds until a connection is taken again after there was no room for one."""

type Handlers = Mapping[Kind, Callable[[bytes], Awaitable[bytes]]]
"""From a question's body to its answer's. A handler raises TaskError for a failure with a reason, ValueError for a
malformed question. It never signs octets that are handed to it: each builds what it signs."""

type Told = Callable[[Kind, str], None]
"""Called for each question with ``ok`` or the failure's reason word."""


class SignerServer:
    """``sock`` is a listening unix socket; only processes of ``user`` are answered."""

    def __init__(
        self,
        sock: socket.socket,
        handlers: Handlers,
        told: Told = lambda _kind, _result: None,
        *,
        user: int | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._sock = sock
        self._handlers = handlers
        self._told = told
        self._user = os.geteuid() if user is None else user
        self._max_connections = max_connections
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._resting: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        return len(self._connections)

    def start(self) -> None:
        self._sock.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        self._resting = None
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._accept)

    def stop(self) -> None:
        """Take no more connections, and close those that are open. The socket stays: it is the parent's."""
        asyncio.get_running_loop().remove_reader(self._sock.fileno())
        if self._resting is not None:
            self._resting.cancel()
        for connection in list(self._connections):
            connection.close()
        for task in self._tasks:
            task.cancel()

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:  # the connection stays in the queue, and would wake us again and again
                self._rest(error)
            return  # else the other side has gone again
        refused = self._refusal(sock)
        if refused:
            logger.error("a connection to the signer is refused: %s", refused)
            sock.close()
            return
        sock.setblocking(False)
        self._keep(asyncio.get_running_loop().create_task(self._adopt(sock)))

    def _rest(self, error: OSError) -> None:
        logger.error("no connection to the signer can be taken: %s", error.strerror)
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock.fileno())
        self._resting = loop.call_later(REST, self._listen)

    def _refusal(self, sock: socket.socket) -> str:
        if len(self._connections) >= self._max_connections:
            return f"{self._max_connections} are open"
        try:
            user = peer_user(sock)
        except OSError as error:
            return f"its user cannot be told: {error.strerror}"
        return "" if user == self._user else f"it comes from user {user}"

    async def _adopt(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: _Connection(self), sock)

    def joined(self, connection: "_Connection") -> None:
        self._connections.add(connection)

    def left(self, connection: "_Connection") -> None:
        self._connections.discard(connection)

    def handle(self, connection: "_Connection", message: Message) -> None:
        self._keep(asyncio.get_running_loop().create_task(self._answer(connection, message)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, connection: "_Connection", message: Message) -> None:
        kind, body = await self._outcome(message)
        connection.send(Message(kind, message.number, body))

    async def _outcome(self, message: Message) -> tuple[Kind, bytes]:
        try:
            answer = await self._handlers[message.kind](message.body)
            if len(answer) > MAX_BODY:
                raise InternalError(Reason.INTERNAL_ERROR, f"an answer of {len(answer)} octets, which no message holds")
            self._told(message.kind, "ok")
        except TaskError as error:
            return self._failure(message.kind, error.reason, error.detail)
        except (ValueError, KeyError) as error:
            logger.warning("the signer was asked something malformed: %s", error)
            return self._failure(message.kind, Reason.INTERNAL_ERROR, "malformed question")
        except Exception as error:
            logger.exception("the signer failed")
            return self._failure(message.kind, Reason.INTERNAL_ERROR, type(error).__name__)
        return Kind.ANSWER, answer

    def _failure(self, kind: Kind, reason: Reason, detail: str) -> tuple[Kind, bytes]:
        self._told(kind, reason.word)
        return Kind.FAILURE, f"{reason.word}: {detail[:_MAX_DETAIL]}".encode()


class _Connection(asyncio.Protocol):
    """Nothing more is read while enough is under way, or while the other side leaves its answers unread."""

    def __init__(self, server: SignerServer) -> None:
        self._server = server
        self._decoder = Decoder()
        self._pending = 0
        self._full = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.left(self)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._decoder.feed(data):
                self._pending += 1
                self._server.handle(self, message)
        except WireError as error:
            logger.error("a connection to the signer is closed: it brought %s", error)
            self.close()
        self._read_or_not()

    def pause_writing(self) -> None:
        self._full = True
        self._read_or_not()

    def resume_writing(self) -> None:
        self._full = False
        self._read_or_not()

    def send(self, message: Message) -> None:
        """An answer. Nothing happens when the one who asked has gone."""
        self._pending -= 1
        if self._transport is not None:
            self._transport.write(message.to_bytes())
        self._read_or_not()

    def _read_or_not(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._full or self._pending >= MAX_PENDING:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
