"""A WebSocket client and an echoing server, on sockets that are connected already."""

import ssl
from dataclasses import dataclass, field

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from tests.e2e.sockets import Sock
from tests.servers import EICAR


def echo(sock: Sock) -> None:
    """Accept one WebSocket and send every message back, until it is closed."""
    server = WSConnection(ConnectionType.SERVER)
    while data := sock.recv(65536):
        server.receive_data(data)
        for event in server.events():
            match event:
                case Request():
                    sock.sendall(server.send(AcceptConnection()))
                case TextMessage() | BytesMessage():
                    sock.sendall(server.send(type(event)(data=event.data, message_finished=event.message_finished)))
                case Ping():
                    sock.sendall(server.send(event.response()))
                case CloseConnection():
                    sock.sendall(server.send(event.response()))
                    return


@dataclass
class Talker:
    """A server for ``origins.origin`` that packs messages where the client can; ``infect`` is answered with the test virus,
    ``big`` with a large message, anything else with itself. ``got``: what arrived. ``codes``: of the close frames."""

    got: list[str | bytes] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)

    def __call__(self, sock: Sock) -> None:
        server, message = WSConnection(ConnectionType.SERVER), ""
        while data := sock.recv(65536):
            server.receive_data(data)
            for event in server.events():
                match event:
                    case Request():
                        sock.sendall(server.send(AcceptConnection(extensions=[PerMessageDeflate()])))
                    case TextMessage(data=text, message_finished=done):
                        message += text
                        if done:
                            self.got.append(message)
                            sock.sendall(server.send(TextMessage(_answers.get(message, message))))
                            message = ""
                    case CloseConnection(code=code):
                        self.codes.append(code)
                        return


_answers = {"infect": EICAR.decode(), "big": "large " * 60_000}


class Client:
    """``status`` is the answer to the upgrade; ``code`` of the close frame, when there was one."""

    def __init__(self, sock: Sock, host: str, path: str = "/ws", *, deflate: bool = False) -> None:
        self.sock = sock
        self.sock.settimeout(15)
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._events: list[object] = []
        self.code: int | None = None
        self._send(Request(host=host, target=path, extensions=[PerMessageDeflate()] if deflate else []))
        first = self._next()
        self.status = 101 if isinstance(first, AcceptConnection) else getattr(first, "status_code", 0)
        self.rejected = isinstance(first, RejectConnection)

    def _send(self, event: object) -> None:
        self.sock.sendall(self._connection.send(event))  # type: ignore[arg-type]

    def _next(self) -> object:
        while not self._events:
            try:
                data = self.sock.recv(65536)
            except (ConnectionError, ssl.SSLError):
                data = b""
            if not data:
                return None
            self._connection.receive_data(data)
            self._events += list(self._connection.events())
        return self._events.pop(0)

    def ask(self, message: str | bytes) -> str | bytes | None:
        """Send a message and wait for one. None: the connection ended instead."""
        self._send(TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message))
        found: str | bytes | None = None
        while True:
            match self._next():
                case TextMessage(data=data, message_finished=done) | BytesMessage(data=data, message_finished=done):
                    found = data if found is None else found + data
                    if done:
                        return found
                case Ping():
                    continue
                case CloseConnection(code=code):
                    self.code = code
                    return None
                case _:
                    return None

    def close(self) -> None:
        """Say goodbye, and wait for the answer. The socket stays the caller's."""
        self._send(CloseConnection(code=1000))
        while not isinstance(self._next(), CloseConnection | None):
            pass
