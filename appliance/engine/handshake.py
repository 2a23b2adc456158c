"""The life of an intercepted connection up to its first request: both handshakes, one after the other, without layers.

The ClientHello is here and decided about. The server comes first, so that the leaf can follow its certificate:

1. dial; why it cannot be reached stays in ``server.error``, and becomes the page that the first request gets
2. ``tls_start_server`` makes the connection to it, and the handshake runs (the certificate is judged inside of it)
3. ``tls_established_server``, which may take time and may still refuse (``server.error``); or ``tls_failed_server``
4. ``tls_start_client`` chooses the leaf, and the handshake with the client runs
5. ``tls_established_client``, and ``InlineTls`` takes over; or an alert, ``tls_failed_client``, and the end

A connection that is not ``eager`` (lazy tenants, pages of our own) begins at 4, and so does one that takes what the same
client has just left idle (``engine.keeping``). No octet of the client's goes to the server before 5. The deadline for all
of it is the phase's (``engine.phases``), which cancels the task that runs here.
"""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, cast

from cryptography import x509
from mitmproxy.certs import Cert
from mitmproxy.connection import Client, Connection, ConnectionState, Server, TlsVersion
from mitmproxy.proxy.context import Context
from mitmproxy.tls import TlsData
from OpenSSL import SSL, crypto

from appliance.domain.facts import HelloFacts
from appliance.domain.notes import ConnNotes
from appliance.engine.inline_tls import ChooseHttp, InlineTls
from appliance.engine.tls_side import TlsSide, sent_alert
from certs.upstream_sessions import is_resumed

CLOSED = "connection closed"
CLOSED_EARLY = "connection closed early"
"""The client was gone before it could be answered."""


class Wire(Protocol):
    """The part of the connection handler that is needed here."""

    client: Client
    conn: ConnNotes

    @property
    def context(self) -> Context: ...

    def take(self) -> TlsSide | None:
        """A connection that the same client has left idle, verified and all; ``context.server`` is it then."""

    async def connect(self, server: Server) -> bool:
        """Open it; False, and its ``error``, when that failed."""

    async def receive(self, connection: Connection) -> bytes:
        """The next octets; empty at the end of the stream."""

    def transmit(self, connection: Connection, data: bytes) -> None:
        """Send it, if it is anything."""

    async def hook(self, name: str, data: TlsData) -> None:
        """Run it to its end; does not return when it failed, for then the connection is over."""

    def client_gone(self) -> bool:
        """Whether the client has ended its side already."""

    def drop(self, server: Server) -> None:
        """Close it."""

    def begin(self, top: InlineTls, server: Server | None) -> None:
        """From now on events go to ``top``."""


async def handshakes(wire: Wire, hello: HelloFacts, choose: ChooseHttp, *, eager: bool) -> bool:
    """Run them. False: the connection is over."""
    client, server = wire.client, wire.context.server
    client.tls = server.tls = True
    client.sni = hello.sni or None
    client.alpn_offers = [name.encode("latin-1", "replace") for name in hello.alpn]
    octets = await wire.receive(client)
    upstream = (wire.take() or await _with_server(wire, server)) if eager else None
    server = wire.context.server
    downstream = None
    try:
        downstream = await _with_client(wire, octets)
    finally:
        if upstream is not None and downstream is None:
            wire.drop(server)
    if downstream is None:
        return False
    wire.begin(InlineTls(downstream, upstream, choose), server if upstream is not None else None)
    return True


async def _with_server(wire: Wire, server: Server) -> TlsSide | None:
    if not await wire.connect(server):
        return None
    side = None
    try:
        side = await _verified(wire, server)
    finally:
        if side is None:
            wire.drop(server)
    return side


async def _verified(wire: Wire, server: Server) -> TlsSide | None:
    data = TlsData(server, wire.context)
    await wire.hook("tls_start_server", data)
    side = _side(wire, data, towards_client=False)
    error = await _shake(wire, side, b"")
    if not error:
        _agreed(side, _certificates(side.tls, server))
        await wire.hook("tls_established_server", data)
        error = server.error or ""
    if not error:
        wire.transmit(server, side.outgoing())  # our Finished, with our certificate if we have one: only now
        return side
    server.error, server.timestamp_tls_setup = error, None  # not established: no leaf follows this server's certificate
    await wire.hook("tls_failed_server", data)
    return None


async def _with_client(wire: Wire, hello: bytes) -> TlsSide | None:
    client, data = wire.client, TlsData(wire.client, wire.context)
    await wire.hook("tls_start_client", data)
    side = _side(wire, data, towards_client=True)
    error = CLOSED_EARLY if wire.client_gone() else await _shake(wire, side, hello)
    if not error:
        _agreed(side, [])
        await wire.hook("tls_established_client", data)
        return side
    _send_alert(wire, side)
    client.error = error
    await wire.hook("tls_failed_client", data)
    client.state = ConnectionState.CLOSED
    return None


async def _shake(wire: Wire, side: TlsSide, data: bytes) -> str:
    """Run one handshake to its end; why it failed."""
    while True:
        done, error = side.shake(data)
        if done or error:
            return error
        wire.transmit(side.conn, side.outgoing())
        data = await wire.receive(side.conn)
        if not data:
            return CLOSED


def _side(wire: Wire, data: TlsData, *, towards_client: bool) -> TlsSide:
    if data.ssl_conn is None:
        raise RuntimeError("no hook has made a TLS connection")
    return TlsSide(data.conn, data.ssl_conn, wire.conn, towards_client=towards_client)


def _agreed(side: TlsSide, certificates: Sequence[Cert]) -> None:
    """What is known only now."""
    conn, tls = side.conn, side.tls
    conn.certificate_list = certificates
    conn.timestamp_tls_setup = time.time()
    conn.alpn = tls.get_alpn_proto_negotiated()
    conn.cipher = tls.get_cipher_name()
    conn.tls_version = cast(TlsVersion, tls.get_protocol_version_name())


def _send_alert(wire: Wire, side: TlsSide) -> None:
    """OpenSSL has queued the alert that tells the client why."""
    if data := side.outgoing():
        if wire.conn.client_tls is not None:
            wire.conn.client_tls.alert_sent = sent_alert(data)
        wire.transmit(side.conn, data)


def _certificates(tls: SSL.Connection, server: Server) -> Sequence[Cert]:
    """What the server sent, as far as it can be read; with a resumed session, what it had sent when that was new."""
    if is_resumed(tls) and (shown := getattr(server, "arcus_shown", ())):
        return cast(Sequence[Cert], shown)
    raw = tls.get_peer_cert_chain() or []
    return [cert for each in raw if (cert := readable(crypto.dump_certificate(crypto.FILETYPE_ASN1, each))) is not None]


@lru_cache(maxsize=512)
def readable(der: bytes) -> Cert | None:
    """A certificate in DER; None when it is none. Intermediates come with every connection, a leaf with each to its host."""
    try:
        return Cert(x509.load_der_x509_certificate(der))
    except (ValueError, x509.InvalidVersion):
        return None
