"""``proxy_socks5``: a SOCKS5 parent (RFC 1928), with user and password (RFC 1929) when configured."""

import errno
import socket

from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError, ProxyType
from python_socks.async_.asyncio import Proxy

from appliance.config.escaper import ProxyAuth
from appliance.config.escaper import ProxySocks5 as ProxySocks5Config
from appliance.domain.clock import Clock
from appliance.domain.errors import UpstreamError
from appliance.domain.notes import EscapeNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.egress.context import EscapeContext
from appliance.egress.escaper import Dialed
from appliance.egress.guard import OwnListeners
from appliance.egress.opener import Opener
from appliance.egress.parent import Parent
from appliance.egress.resolver import Resolver


class ProxySocks5(Parent):
    """Names go to the parent as names, unless ``resolve_locally``: then it gets the first address of ours."""

    def __init__(self, config: ProxySocks5Config, resolver: Resolver, own: OwnListeners, clock: Clock) -> None:
        """Raises ValueError for ``auth`` that RFC 1929 cannot carry."""
        super().__init__(config, resolver, own, clock)
        self._username, self._password = _credentials(config.auth)
        self._resolve_locally = config.resolve_locally

    async def escape(self, ctx: EscapeContext, opener: Opener, notes: EscapeNotes) -> Dialed:
        self.admit(ctx.target)
        target = await self._destination(ctx.target)
        self.admit(target)
        connected = await self.reach(notes, self.deadline(), lambda ip, timeout: self._negotiate(ip, target, timeout))
        return Dialed(*await opener.adopt(connected), notes)

    async def _destination(self, target: Target) -> Target:
        if not self._resolve_locally:
            return target
        return Target((await self.resolver.resolve(target.host))[0], target.port)

    async def _negotiate(self, ip: str, target: Target, timeout: float) -> socket.socket:
        """python-socks reads no byte more than the reply, so the socket starts at the tunnel's first byte."""
        source = self.local.source(ip)
        proxy = Proxy(ProxyType.SOCKS5, ip, self.addr.port, self._username, self._password, rdns=True)
        try:
            return await proxy.connect(target.host, target.port, timeout, local_addr=(source, 0) if source else None)
        except (ProxyError, OSError, ValueError, IndexError) as error:
            raise _socks_error(error, self.name, timeout) from error


def _credentials(auth: ProxyAuth | None) -> tuple[str | None, str | None]:
    if auth is None:
        return None, None
    username, password = auth.username, auth.password.get_secret_value()
    # 1 to 255 bytes is RFC 1929's limit, ASCII is python-socks'.
    if not all(text.isascii() and 0 < len(text) < 256 for text in (username, password)):
        raise ValueError("SOCKS5 user name and password must be 1 to 255 ASCII characters")
    return username, password


def _socks_error(error: Exception, parent: str, timeout: float) -> UpstreamError:
    match error:
        case ProxyTimeoutError():
            return UpstreamError(Reason.CONNECT_TIMEOUT, f"{parent}: no SOCKS answer in {timeout:.3g} s", retryable=True)
        case ProxyConnectionError(errno=errno.ECONNREFUSED):
            return UpstreamError(Reason.CONNECT_REFUSED, parent, retryable=True)
        case ProxyConnectionError():
            return UpstreamError(Reason.CONNECT_FAILED, f"{parent}: {error.strerror}", retryable=True)
        case ProxyError():
            return _refusal(error, parent)
        case OSError():
            return UpstreamError(Reason.UPSTREAM_CLOSED, f"{parent} closed during the SOCKS negotiation")
        case _:
            return UpstreamError(Reason.UPSTREAM_PROTOCOL, f"{parent}: malformed SOCKS answer")


def _refusal(error: ProxyError, parent: str) -> UpstreamError:
    """python-socks gives a code for the parent's reply, and only a sentence for what comes before it."""
    text = str(error)
    if error.error_code is not None:
        return UpstreamError(Reason.UPSTREAM_PROXY_REFUSED, f"{parent}: {text}")
    if "authentication" in text.lower():
        return UpstreamError(Reason.UPSTREAM_AUTH_FAILED, f"{parent}: {text}")
    if "closed" in text:
        return UpstreamError(Reason.UPSTREAM_CLOSED, f"{parent} closed during the SOCKS negotiation")
    return UpstreamError(Reason.UPSTREAM_PROTOCOL, f"{parent}: {text}")
