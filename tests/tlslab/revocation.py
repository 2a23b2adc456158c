"""Certificates that their CA took back: lists, responses, and a small web server that hands them out."""

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from tests.certs.forge_origin import Pair

HOUR = timedelta(hours=1)
type Answers = dict[str, Callable[[bytes], tuple[str, bytes]]]


def crl(issuer: Pair, *serials: int) -> bytes:
    """A list in DER, from an hour ago for a day."""
    now = datetime.now(UTC).replace(microsecond=0)
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.name).last_update(now - HOUR)
    builder = builder.next_update(now + 24 * HOUR).add_extension(x509.CRLNumber(1), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - HOUR)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, SHA256()).public_bytes(Encoding.DER)


def ocsp_response(leaf: Pair, issuer: Pair, *, revoked: bool) -> bytes:
    now = datetime.now(UTC).replace(microsecond=0)
    status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf.certificate, issuer.certificate, SHA1(), status, now - HOUR, now + HOUR, now - HOUR if revoked else None, None
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate)
    return builder.sign(issuer.key, SHA256()).public_bytes(Encoding.DER)


def crl_at(url: str) -> tuple[x509.ExtensionType, bool]:
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    return x509.CRLDistributionPoints([point]), False


def ocsp_at(url: str) -> tuple[x509.ExtensionType, bool]:
    return _access(AuthorityInformationAccessOID.OCSP, url)


def issuer_at(url: str) -> tuple[x509.ExtensionType, bool]:
    return _access(AuthorityInformationAccessOID.CA_ISSUERS, url)


def _access(method: x509.ObjectIdentifier, url: str) -> tuple[x509.ExtensionType, bool]:
    description = x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
    return x509.AuthorityInformationAccess([description]), False


@contextmanager
def responder(answers: Answers) -> Iterator[tuple[Answers, int]]:
    """A web server on the loopback address: what it answers, which may grow, and its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(base64.b64decode(self.path.rpartition("/")[2] + "==", validate=False))

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes) -> None:
            make = answers.get(self.path.split("/")[1])
            if make is None:
                self.send_error(404)
                return
            kind, data = make(body)
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield answers, server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
