"""The whole table on the wire: a port for each case, in threads of this process."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from OpenSSL import SSL

from tests.certs import forge_origin as forge
from tests.certs.cases import pem
from tests.tlslab import scripted
from tests.tlslab.case import Lab, LabCase, Plain, Service
from tests.tlslab.revocation import responder
from tests.tlslab.scripted import Script, Seen
from tests.tlslab.trust import future_root, old_root

CONTENT = b"this came from the origin"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
    len(CONTENT), CONTENT,
)  # fmt: skip
WEB_HOST = "ca.test"
"""Where lists, responses and missing intermediates are."""


@dataclass
class Serving:
    """``ports`` by case; ``seen`` what clients did there; ``roots`` is the PEM file that they are told to trust."""

    cases: Sequence[LabCase]
    roots: Path
    ports: dict[str, int] = field(default_factory=dict)
    seen: dict[str, list[Seen]] = field(default_factory=dict)

    @property
    def hosts(self) -> list[str]:
        """Every name that must lead to 127.0.0.1, in ASCII."""
        return hosts(self.cases)

    def port(self, case: LabCase) -> int:
        return self.ports[str(case)]


def hosts(cases: Sequence[LabCase]) -> list[str]:
    """The names that clients ask for, and the one of the lists and responders."""
    return sorted({WEB_HOST, *(case.host.encode("idna").decode() for case in cases if case.address == "127.0.0.1")})


@contextlib.contextmanager
def serving(cases: Sequence[LabCase], directory: Path) -> Iterator[Serving]:
    shift = datetime.now(UTC).replace(microsecond=0) - forge.NOW
    with responder({}) as web, contextlib.ExitStack() as stack:
        lab = Lab(forge.world(shift), old_root(shift), future_root(shift), f"http://{WEB_HOST}:{web[1]}", web[0])
        roots = directory / "lab-roots.pem"
        roots.write_bytes(pem(lab.world.root, lab.old, lab.future))
        found = Serving(cases, roots)
        selector = stack.enter_context(contextlib.closing(selectors.DefaultSelector()))
        for case in cases:
            listener = stack.enter_context(_listen(case.address))
            found.ports[str(case)] = listener.getsockname()[1]
            seen = found.seen.setdefault(str(case), [])
            selector.register(listener, selectors.EVENT_READ, (case.serve(lab), seen))
        stop = threading.Event()
        thread = threading.Thread(target=_accept, args=(selector, stop), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            stop.set()
            thread.join(10)


def _listen(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, 0), family=family)


def _accept(selector: selectors.BaseSelector, stop: threading.Event) -> None:
    while not stop.is_set():
        for key, _ in selector.select(0.2):
            assert isinstance(key.fileobj, socket.socket)
            sock, _ = key.fileobj.accept()
            threading.Thread(target=_converse, args=(sock, *key.data), daemon=True).start()


def _converse(sock: socket.socket, service: Service, seen: list[Seen]) -> None:
    with sock:
        # kept by the kernel, because pyOpenSSL does not wait on a socket with a timeout of Python's
        limit = (20).to_bytes(8, "little") + bytes(8)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        if isinstance(service, Script):
            seen.append(scripted.serve(sock, service, ANSWER))
        else:
            seen.append(_plain(sock, service))


def _plain(sock: socket.socket, service: Plain) -> Seen:
    connection, found = SSL.Connection(_context(service), sock), Seen()
    connection.set_accept_state()
    try:
        connection.do_handshake()
        found.went_on = found.finished = True
        while b"\r\n\r\n" not in connection.recv(65536):
            pass
        connection.sendall(ANSWER)
        connection.shutdown()
    except (SSL.Error, OSError):
        return found
    return found


def _context(service: Plain) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if service.tls12:
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(service.leaf.certificate)
    context.use_privatekey(service.leaf.key)
    for each in service.chain:
        context.add_extra_chain_cert(each.certificate)
    if service.staple:
        context.set_ocsp_server_callback(lambda _connection, _data: service.staple)
    return context
