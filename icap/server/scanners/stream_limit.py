"""The longest stream that a clamd takes (StreamMaxLength). No command tells it, but clamd refuses a frame that would be too
much as soon as it has the frame's length: so lengths are announced, and no byte is sent."""

import asyncio
import socket
import struct

from icap.server.scanners.endpoint import Endpoint
from icap.server.scanners.instream import ANSWER_LIMIT, COMMAND

PATIENCE = 0.5
"""Seconds in which a refusal comes. A busy clamd may take longer, and its limit is then taken for higher than it is: the scan
of a body in between ends in clamd's own refusal, which is an error as well."""
STEP = 64 * 1024
"""Bytes by which the answer may be too low."""
_REFUSAL = b"size limit exceeded"


async def stream_limit(endpoint: Endpoint, wanted: int, patience: float = PATIENCE) -> int:
    """``wanted`` when clamd takes streams that long, otherwise what it takes. Raises OSError."""
    if not await _refuses(endpoint, wanted, patience):
        return wanted
    taken, refused = 0, wanted
    while refused - taken > STEP:
        middle = (taken + refused) // 2
        if await _refuses(endpoint, middle, patience):
            refused = middle
        else:
            taken = middle
    return taken


async def _refuses(endpoint: Endpoint, size: int, patience: float) -> bool:
    loop = asyncio.get_running_loop()
    sock: socket.socket | None = None
    try:
        async with asyncio.timeout(patience):
            sock = await endpoint.connect()
            await loop.sock_sendall(sock, COMMAND + struct.pack("!L", min(size, 0xFFFFFFFF)))
            return _REFUSAL in await loop.sock_recv(sock, ANSWER_LIMIT)
    except TimeoutError:
        return False
    finally:
        if sock is not None:
            sock.close()
