"""A command's end of the control socket."""

import contextlib
import socket
import time
from pathlib import Path
from typing import Any

from appliance import local_socket
from appliance.control.protocol import MAX_ANSWER, SOCKET, ProtocolError, read_answer


def ask(run: Path, request: bytes, patience: float) -> dict[str, Any]:
    """Send one request to the parent that runs on ``state_dir``, of which ``run`` is a part, and give its answer.

    Raises:
        OSError: nobody listens there, or it may not be asked; TimeoutError after ``patience`` seconds.
        ProtocolError: what came is no answer.
    """
    ends = time.monotonic() + patience
    with local_socket.connect(run, SOCKET) as line:
        line.settimeout(patience)
        with contextlib.suppress(BrokenPipeError):  # it has answered before it was asked: whoever we are is refused
            line.sendall(request)
        return read_answer(_received(line, ends))


def _received(line: socket.socket, ends: float) -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        line.settimeout(max(ends - time.monotonic(), 0.001))
        block = line.recv(65536)
        if not block:
            break
        received += block
        if len(received) > MAX_ANSWER:
            raise ProtocolError("the answer of the running Arcus is too long")
    return received
