"""From an address to a stream: one TCP connect, socket options, TLS to a parent. No names, no choice, no retries."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final

from appliance.domain.errors import UpstreamError
from appliance.domain.reason import Reason

type ReaderFactory = Callable[[], asyncio.StreamReader]
type Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

DEFAULT_LIMIT: Final = 64 * 1024


class Opener:
    """Opens streams whose readers come from ``reader_factory``; without one, plain readers with ``limit`` bytes."""

    __slots__ = ("_factory",)

    def __init__(self, reader_factory: ReaderFactory | None = None, limit: int = DEFAULT_LIMIT) -> None:
        self._factory = reader_factory or (lambda: asyncio.StreamReader(limit=limit))

    async def open(self, ip: str, port: int, local_ip: str | None, timeout: float) -> Stream:
        """Connect to an address literal: nothing is resolved here, so what was judged is what is dialled.

        Raises:
            UpstreamError: CONNECT_REFUSED, CONNECT_TIMEOUT or CONNECT_FAILED, all retryable. ``timeout`` is in seconds.
        """
        loop = asyncio.get_running_loop()
        reader = self._factory()
        try:
            async with asyncio.timeout(timeout):
                transport, protocol = await loop.create_connection(
                    lambda: asyncio.StreamReaderProtocol(reader, loop=loop),
                    ip,
                    port,
                    local_addr=(local_ip, 0) if local_ip else None,
                )
        except OSError as error:
            raise _connect_error(error, ip, port, timeout) from error
        return self._checked(reader, asyncio.StreamWriter(transport, protocol, reader, loop), ip, port)

    async def adopt(self, connected: socket.socket) -> Stream:
        """A stream over a socket that somebody else connected. Nothing may have been read ahead of it."""
        loop = asyncio.get_running_loop()
        reader = self._factory()
        try:
            transport, protocol = await loop.create_connection(
                lambda: asyncio.StreamReaderProtocol(reader, loop=loop), sock=connected
            )
        except BaseException:
            connected.close()
            raise
        _tune(transport)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def secure(self, stream: Stream, context: ssl.SSLContext, server_name: str, timeout: float) -> None:
        """Start TLS on a stream, verified as ``context`` says; on failure the stream is closed.

        Raises:
            UpstreamError: UPSTREAM_TLS_FAILED, or CONNECT_TIMEOUT after ``timeout`` seconds.
        """
        writer = stream[1]
        try:
            async with asyncio.timeout(timeout):
                await writer.start_tls(context, server_hostname=server_name)
        except OSError as error:  # ssl.SSLError is one, too
            writer.transport.abort()
            raise _tls_error(error, server_name) from error
        except BaseException:
            writer.transport.abort()
            raise

    @staticmethod
    def _checked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ip: str, port: int) -> Stream:
        # A connect to a free ephemeral port of this machine can meet itself (RFC 9293 section 3.5, simultaneous open).
        sockname = writer.get_extra_info("sockname")
        if sockname and sockname == writer.get_extra_info("peername"):
            writer.transport.abort()
            raise UpstreamError(Reason.CONNECT_REFUSED, f"{ip} port {port}: connected to itself", retryable=True)
        _tune(writer.transport)
        return reader, writer


def _tune(transport: asyncio.BaseTransport) -> None:
    """Keepalive because a silent peer may be gone. TCP_NODELAY is set by the loop, asyncio's and uvloop alike."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _connect_error(error: OSError, ip: str, port: int, timeout: float) -> UpstreamError:
    where = f"{ip} port {port}"
    if isinstance(error, ConnectionRefusedError):
        return UpstreamError(Reason.CONNECT_REFUSED, where, retryable=True)
    if isinstance(error, TimeoutError):
        return UpstreamError(Reason.CONNECT_TIMEOUT, f"{where}: no answer in {timeout:.3g} s", retryable=True)
    return UpstreamError(Reason.CONNECT_FAILED, f"{where}: {error.strerror or error}", retryable=True)


def _tls_error(error: OSError, server_name: str) -> UpstreamError:
    if isinstance(error, TimeoutError):
        return UpstreamError(Reason.CONNECT_TIMEOUT, f"TLS with {server_name}: no end of the handshake in time")
    return UpstreamError(Reason.UPSTREAM_TLS_FAILED, f"TLS with {server_name}: {error}")
