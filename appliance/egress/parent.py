"""What all parent proxies share: finding the parent's address, and reaching it."""

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Final

from appliance.config.escaper import ProxyHttp, ProxyHttps, ProxySocks5
from appliance.domain.clock import Clock
from appliance.domain.errors import PolicyError
from appliance.domain.notes import EscapeNotes
from appliance.domain.reason import Reason
from appliance.domain.target import IPAddress, Target, parse_ip
from appliance.egress.escaper import Identity
from appliance.egress.guard import OwnListeners
from appliance.egress.opener import Opener, Stream
from appliance.egress.phases import phase
from appliance.egress.resolver import Resolver
from appliance.egress.tries import Deadline, LocalAddresses, order, try_each

_LOCALHOST: Final = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))


class Parent(Identity):
    """The parent's own address is the operator's word and is not judged by the guard; where the task goes from there is
    the parent's to judge. Only our own listeners are refused here too, when the target names one by address or as
    localhost: a parent on this machine must not be the way back in."""

    def __init__(
        self, config: ProxyHttp | ProxyHttps | ProxySocks5, resolver: Resolver, own: OwnListeners, clock: Clock
    ) -> None:
        super().__init__(config.name, config.type, frozenset(config.tenants))
        self.addr = config.proxy_addr
        self._timeout = config.connect_timeout
        self.resolver, self.clock = resolver, clock
        self.local = LocalAddresses(config.bind_ip)
        self._own = own

    def admit(self, target: Target) -> None:
        """Raises PolicyError(EGRESS_DENIED) for one of our own listeners."""
        if any(self._own.has(address, target.port) for address in _spelled_out(target.host)):
            raise PolicyError(Reason.EGRESS_DENIED, f"{target} (our own listener)")

    def admits(self, target: Target, _ip: str) -> bool:
        """The address is the parent's own."""
        try:
            self.admit(target)
        except PolicyError:
            return False
        return True

    def deadline(self) -> Deadline:
        """From now: ``connect_timeout`` is for all tries and the handshakes with the parent together."""
        return Deadline(self.clock, self._timeout)

    async def reach[T](self, notes: EscapeNotes, until: Deadline, attempt: Callable[[str, float], Awaitable[T]]) -> T:
        """Each address of the parent once, with the families alternating."""
        notes.next_hop = str(self.addr)
        with phase(notes, "dns", self.clock):
            resolved = await self.resolver.resolve(self.addr.host)
        addresses = self.local.reachable(order(resolved, "IPv4First"))
        with phase(notes, "connect", self.clock):
            return await try_each(addresses, len(addresses), until, notes, attempt)

    async def open(self, opener: Opener, notes: EscapeNotes, until: Deadline) -> Stream:
        return await self.reach(
            notes, until, lambda ip, timeout: opener.open(ip, self.addr.port, self.local.source(ip), timeout)
        )


def _spelled_out(host: str) -> tuple[IPAddress, ...]:
    """The addresses that a host stands for wherever it is resolved: a literal, or localhost (RFC 6761 section 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return _LOCALHOST
    address = parse_ip(host)
    return (address,) if address else ()
