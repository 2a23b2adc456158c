"""The egress guard: judges an address after name resolution, right before it is dialled.

The longest prefix decides, over the operator's ``deny`` and ``allow`` and the special blocks together; at equal length
``deny`` wins over ``allow``, and ``allow`` over the special blocks. So ``allow: 0.0.0.0/0`` opens nothing special, and
``allow: 169.254.0.0/16`` still keeps the metadata address shut. Address and port of our own
listeners are longer than any prefix.
"""

from collections.abc import Callable, Iterable

from appliance.domain.hostmatch import NetworkMap
from appliance.domain.target import IPAddress, IPNetwork, Target, parse_ip
from appliance.egress.local import is_local
from appliance.egress.special import parse_face, special_blocks


class OwnListeners:
    """The appliance's own sockets. A wildcard or a host name stands for every address of this machine."""

    __slots__ = ("_anywhere", "_is_local", "_pairs", "_ports")

    def __init__(self, listeners: Iterable[Target], is_local: Callable[[IPAddress], bool] = is_local) -> None:
        self._is_local = is_local
        self._pairs: set[tuple[IPAddress, int]] = set()
        self._anywhere: set[int] = set()
        for listener in listeners:
            address = parse_ip(listener.host)
            if address is None or address.is_unspecified:
                self._anywhere.add(listener.port)
            else:
                self._pairs.add((address, listener.port))
        self._ports = self._anywhere | {port for _, port in self._pairs}

    def has(self, address: IPAddress, port: int) -> bool:
        if address.is_unspecified:  # the kernel takes 0.0.0.0 and :: as this machine
            return port in self._ports
        return (address, port) in self._pairs or (port in self._anywhere and self._is_local(address))

    def local(self, address: IPAddress) -> bool:
        return self._is_local(address)


class EgressGuard:
    """Immutable. ``refusal`` is all there is to ask."""

    __slots__ = ("_blocks", "_own")

    def __init__(self, own: OwnListeners, allow: Iterable[IPNetwork] = (), deny: Iterable[IPNetwork] = ()) -> None:
        entries = [(net, (False, "denied by the filter")) for net in deny]
        entries += [(net, (True, "")) for net in allow]
        entries += [(net, (False, word)) for net, word in special_blocks()]
        self._blocks = NetworkMap(entries)
        self._own = own

    def refusal(self, ip: str, port: int) -> str:
        """Why the address may not be dialled; empty when it may. Raises ValueError when ``ip`` is no address."""
        for address in parse_face(ip):
            if self._own.has(address, port):
                return "our own listener"
            match = self._blocks.longest(str(address))
            allowed, word = match.value if match else (False, "reserved")
            if word:
                return word
            if not allowed and self._own.local(address):
                return "our own address"
        return ""
