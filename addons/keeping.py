"""Whether what happened on a connection to a server speaks against another connection of its client going on with it."""

from collections.abc import Callable
from typing import Final

from mitmproxy.connection import Server
from mitmproxy.http import HTTPFlow
from mitmproxy.tls import TlsData

from addons.carry import conn_of, is_ours, task_of
from appliance.domain.ids import TenantId
from appliance.domain.reason import Reason

_PER_REQUEST: Final = frozenset((b"basic", b"bearer", b"digest"))
"""Credentials that go with each request. NTLM and Negotiate sign in a connection, against all rules (RFC 4559 section 6)."""
_CHALLENGES: Final = frozenset((b"www-authenticate", b"proxy-authenticate", b"persistent-auth"))


class Keeping:
    """Writes ``arcus_free`` on mitmproxy's server (``engine.keeping``). ``forget``: told of tenant and address of a server
    that was refused."""

    def __init__(self, forget: Callable[[TenantId, tuple[str, int]], None]) -> None:
        self._forget = forget

    def response(self, flow: HTTPFlow) -> None:
        server = flow.server_conn
        if getattr(server, "arcus_free", True):
            server.arcus_free = _is_ordinary(flow)

    def error(self, flow: HTTPFlow) -> None:
        flow.server_conn.arcus_free = False

    def tls_failed_server(self, data: TlsData) -> None:
        if isinstance(data.conn, Server) and data.conn.address is not None:
            self._forget(conn_of(data.context.client).tenant or TenantId(""), data.conn.address)


def _is_ordinary(flow: HTTPFlow) -> bool:
    """Asked and answered in HTTP/1.1, passed by everybody who was asked, and nobody signed in."""
    response = flow.response
    if response is None or is_ours(flow) or task_of(flow).reason is not Reason.OK or flow.websocket is not None:
        return False
    if response.data.http_version != b"HTTP/1.1" or response.status_code in (101, 401, 407):
        return False
    asked = any(name.lower() in _CHALLENGES for name, _ in response.data.headers.fields)
    return not asked and all(_is_loose(name.lower(), value) for name, value in flow.request.data.headers.fields)


def _is_loose(name: bytes, value: bytes) -> bool:
    """A field of the request that binds nobody to the connection."""
    if name not in (b"authorization", b"proxy-authorization"):
        return True
    return value.strip().partition(b" ")[0].lower() in _PER_REQUEST
