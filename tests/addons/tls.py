"""A connection with both sides of TLS, for the addons that answer its hooks."""

from types import SimpleNamespace
from typing import Any

from mitmproxy.connection import Client, Server

from addons.presenting import Presenting
from addons.tolerance import Matrices
from appliance.config.upstream_certificates import UpstreamCertificates
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes
from appliance.domain.reason import Reason
from appliance.policy.upstream_certificates import CertificateMatrix
from tests.addons.flows import A

ALPN = [b"h2", b"http/1.1"]


class Place:
    """One connection of a tenant; ``told`` are the handshakes counted."""

    def __init__(self, given: ConnNotes, *, http2: bool = True) -> None:
        self.conn = given
        self.told: list[tuple[str, Reason, float]] = []
        self.http2 = frozenset({A}) if http2 else frozenset()
        self.client = Client(peername=("10.0.0.7", 1), sockname=("127.0.0.1", 2), timestamp_start=1.0)
        self.client.arcus = given  # type: ignore[attr-defined]
        self.server = Server(address=("example.test", 443))

    def count(self, side: str, reason: Reason, seconds: float) -> None:
        self.told.append((side, reason, seconds))

    def data(self, side: Client | Server) -> Any:
        return SimpleNamespace(conn=side, context=SimpleNamespace(client=self.client, server=self.server), ssl_conn=None)


def matrices(accepted: Any = None, **config: Any) -> Matrices:
    """The same matrix for two tenants; nothing was accepted from a warning unless ``accepted`` says so."""
    matrix = CertificateMatrix(UpstreamCertificates(**config))
    return Matrices({A: matrix, TenantId("b"): matrix}, accepted or SimpleNamespace(holds=lambda _: False), lambda: 1e9)


def nobody() -> Presenting:
    """No client certificate for anybody."""
    return Presenting({}, {}, {}, lambda tenant, host: None)
