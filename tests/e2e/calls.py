"""Calls of gRPC over HTTP/2 for tests: a server with a script for each path, and a client that reads message by message."""

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions

PATIENCE = 60.0
TRAILERS = [("grpc-status", "0")]


def message(data: bytes, *, packed: bool = False) -> bytes:
    return bytes([packed]) + len(data).to_bytes(4) + data


@dataclass
class Call:
    """One stream of either end. ``got``: the octets of its body. ``ended``: how, ``end`` or ``reset``; empty until then."""

    sock: socket.socket
    client: bool
    stream: int = 1
    head: dict[str, str] = field(default_factory=dict)
    got: bytes = b""
    ended: str = ""
    trailers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sock.settimeout(PATIENCE)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=self.client, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self._flush()

    def _flush(self) -> None:
        if data := self.h2.data_to_send():
            self.sock.sendall(data)

    def begin(self, *fields: tuple[str, str]) -> None:
        self.h2.send_headers(self.stream, list(fields))
        self._flush()

    def say(self, data: bytes, *, end: bool = False) -> None:
        self.h2.send_data(self.stream, data, end_stream=end)
        self._flush()

    def finish(self) -> None:
        self.h2.send_headers(self.stream, TRAILERS, end_stream=True)
        self._flush()

    def until(self, reached: Callable[["Call"], object]) -> None:
        """Read until something is so; EOFError when the connection ends before."""
        while not reached(self):
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            for event in self.h2.receive_data(data):
                self._take(event)
            self._flush()

    def read(self, size: int) -> None:
        """Until so many octets of the body are there."""
        self.until(lambda call: len(call.got) >= size)

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived | h2.events.ResponseReceived):
            self.head = {str(name): str(value) for name, value in event.headers or []}
            self.stream = event.stream_id or 0
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers = {str(name): str(value) for name, value in event.headers or []}
        elif isinstance(event, h2.events.DataReceived):
            self.got += event.data or b""
            self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended = self.ended or "end"
        elif isinstance(event, h2.events.StreamReset):
            self.ended = "reset"


@dataclass
class Server:
    """For ``origins.origin``'s hook."""

    scripts: dict[str, Callable[[Call], None]] = field(default_factory=dict)
    go: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    calls: dict[str, Call] = field(default_factory=dict)

    def __call__(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError, h2.exceptions.ProtocolError):
            call = Call(sock, client=False)
            call.until(lambda call: call.head)
            path = call.head[":path"]
            self.calls[path] = call
            try:
                self.scripts[path](call)
            finally:
                self.over.set()

    def wait(self) -> None:
        if not self.go.wait(PATIENCE):
            raise TimeoutError("the test never said to go on")
        self.go.clear()
