"""Where a transparently redirected connection was going."""

import ipaddress
import socket

from appliance.domain.target import Target, normalise_host, unmapped

_SO_ORIGINAL_DST = 80
"""The same number in linux/netfilter_ipv4.h and netfilter_ipv6/ip6_tables.h."""


def original_destination(sock: socket.socket, mode: str) -> Target | None:
    """The client's destination: ``redirect`` asks netfilter, ``tproxy`` finds it as the socket's own address.

    None: the connection was not redirected at all (somebody connected to the listener itself).
    """
    local = sock.getsockname()
    if mode == "tproxy":
        return Target(normalise_host(unmapped(local[0])), local[1])
    try:
        found = _redirected(sock)
    except OSError:
        return None
    same = found.port == local[1] and ipaddress.ip_address(found.host) == ipaddress.ip_address(unmapped(local[0]))
    return None if same else found


def _redirected(sock: socket.socket) -> Target:
    if sock.family == socket.AF_INET6 and not sock.getpeername()[0].startswith("::ffff:"):
        raw = sock.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
        return Target(str(ipaddress.IPv6Address(raw[8:24])), int.from_bytes(raw[2:4]))
    raw = sock.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
    return Target(str(ipaddress.IPv4Address(raw[4:8])), int.from_bytes(raw[2:4]))
