"""What is written down about a TLS session, with a server or with a client."""

from collections.abc import Sequence

from cryptography import x509
from mitmproxy.tls import TlsData

from addons.tls_session import agreed, presented, resumed, server_asked
from appliance.domain.notes import TlsNotes
from certs.cache import Leaf
from certs.describe import describe

MAX_CHAIN = 10
"""Certificates of a server's that are written down."""


def with_server(data: TlsData) -> TlsNotes:
    """What was agreed, and what the server sent as far as it was verified."""
    server = data.conn
    version, cipher = agreed(data.ssl_conn)
    notes = TlsNotes(
        version=version,
        cipher=cipher,
        alpn=(server.alpn or b"").decode("ascii", "replace"),
        sni=server.sni or "",
        resumed=resumed(data.ssl_conn),
        asked_certificate=server_asked(data.ssl_conn),
        presented_sha256=presented(data.ssl_conn),
    )
    describe_chain(notes, [cert.to_cryptography() for cert in server.certificate_list])
    return notes


def describe_chain(notes: TlsNotes, chain: Sequence[x509.Certificate]) -> None:
    """The server's certificates, leaf first; nothing changes when there is none."""
    if chain:
        described = [describe(certificate) for certificate in chain[:MAX_CHAIN]]
        notes.certificate = described[0]
        notes.chain_sha256 = tuple(each.sha256 for each in described)


def before_client(sni: str, leaf: Leaf, now: float) -> TlsNotes:
    """What the client is about to see, by fingerprint."""
    shown, chain = leaf.described, leaf.chain_sha256
    return TlsNotes(sni=sni, certificate=shown, chain_sha256=chain, ca_sha256=leaf.ca_sha256, begun=now)


def add_agreed(notes: TlsNotes, data: TlsData) -> None:
    """What was agreed with the client."""
    notes.version = data.conn.tls_version or ""
    notes.cipher = data.conn.cipher or ""
    notes.alpn = (data.conn.alpn or b"").decode("ascii", "replace")
    notes.resumed = resumed(data.ssl_conn)
