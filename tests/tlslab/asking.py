"""A client behind a proxy: what it gets to see of a server of the table."""

import contextlib
import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from tests.e2e import sockets
from tests.tlslab.case import LabCase
from tests.tlslab.serving import CONTENT


@dataclass(frozen=True)
class Shown:
    """``leaf`` is what the client verified, None when it refused it. ``status`` 0: there was no answer."""

    status: int = 0
    body: bytes = b""
    leaf: x509.Certificate | None = None
    error: str = ""

    @property
    def content(self) -> bool:
        """The origin's own words, under a certificate that the client believes."""
        return CONTENT in self.body

    @property
    def words(self) -> set[str]:
        """What may be a reason word on a page."""
        return set(re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b", self.body.decode(errors="replace")))


def target(case: LabCase, port: int) -> str:
    return f"[{case.host}]:{port}" if ":" in case.host else f"{case.host.encode('idna').decode()}:{port}"


def ask(proxy: int, case: LabCase, port: int, ca: Path, path: str = "/", *, strict: bool = True) -> Shown:
    """CONNECT to the case's server, TLS inside, one request; ``ca`` is all that the client believes."""
    context = sockets.trusting(ca)
    if not strict:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        with sockets.dial(proxy) as tunnel, _inside(tunnel, context, case, target(case, port)) as sock:
            request = f"GET {path} HTTP/1.1\r\nHost: {target(case, port)}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
            sock.sendall(request.encode())
            leaf = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")
            status, _, body = sockets.read_response(sock)
            return Shown(status, body, leaf)
    except (OSError, AssertionError) as error:
        return Shown(error=f"{type(error).__name__}: {error}")


def _inside(tunnel: socket.socket, context: ssl.SSLContext, case: LabCase, where: str) -> ssl.SSLSocket:
    tunnel.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
    answer = sockets.read_until(tunnel, b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return context.wrap_socket(tunnel, server_hostname=_server_name(case.host))


def _server_name(host: str) -> str:
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    return host.encode("idna").decode()
