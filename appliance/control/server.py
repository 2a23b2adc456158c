"""The parent's end of the control socket. The kernel tells who asks; nobody else is answered."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from appliance.control.protocol import MAX_REQUEST, ProtocolError, Request, read_request, write_answer
from appliance.local_socket import peer_user

logger = logging.getLogger(__name__)

DEADLINE = 5.0
"""Seconds for a request to be there, and again for its answer to be taken."""
MAX_CONNECTIONS = 16
ROOT = 0

type Answer = Callable[[Request, int], Awaitable[dict[str, Any]]]
"""From a request, and the user who asks, to what is answered."""


class ControlServer:
    """``sock`` is a listening unix socket. Its owner and root may ask."""

    def __init__(self, sock: socket.socket, answer: Answer, *, deadline: float = DEADLINE) -> None:
        self._sock = sock
        self._answer = answer
        self._deadline = deadline
        self._open = 0

    async def run(self) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_unix_server(self._serve, sock=self._sock, limit=MAX_REQUEST, cleanup_socket=False)
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            with contextlib.suppress(OSError, TimeoutError):
                user = self._user(writer)
                writer.write(write_answer(await self._answered(reader, user)))
                await asyncio.wait_for(writer.drain(), self._deadline)
        finally:
            self._open -= 1
            writer.close()

    def _user(self, writer: asyncio.StreamWriter) -> int:
        return peer_user(writer.get_extra_info("socket"))

    async def _answered(self, reader: asyncio.StreamReader, user: int) -> dict[str, Any]:
        if user not in (ROOT, os.geteuid()):
            logger.error("the control socket was asked by another user", extra={"uid": user})
            return {"error": "only root and the user that Arcus runs as may ask"}
        if self._open > MAX_CONNECTIONS:
            return {"error": f"more than {MAX_CONNECTIONS} at once"}
        try:
            request = await asyncio.wait_for(_line(reader), self._deadline)
            return await self._answer(read_request(request), user)
        except TimeoutError:
            return {"error": f"no request within {self._deadline:g} s"}
        except ProtocolError as error:
            return {"error": str(error)}
        except Exception:
            logger.exception("the control socket failed")
            return {"error": "it failed; the log says why"}


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Raises ProtocolError when the line has no end, or comes too late to it."""
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        raise ProtocolError("not a request: it has no line feed at its end") from error
    except asyncio.LimitOverrunError as error:
        raise ProtocolError(f"a request has at most {MAX_REQUEST} octets") from error
