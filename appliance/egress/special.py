"""Address blocks that no open destination lives in, by the word that names why.

Sources: the IANA IPv4 and IPv6 special-purpose address registries (RFC 6890 and its updates), and the addresses at which
cloud platforms serve credentials. Of IPv6 only 2000::/3 is handed out (RFC 4291 section 2.4), so the rest is refused whole.
"""

import ipaddress
from typing import Final

from appliance.domain.target import IPAddress, IPNetwork, parse_ip

_BLOCKS: Final[dict[str, tuple[str, ...]]] = {
    "unspecified": ("0.0.0.0/8", "::/128"),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "shared (CGNAT)": ("100.64.0.0/10",),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "metadata": (
        "169.254.169.254/32",
        "169.254.170.2/32",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
    ),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "broadcast": ("255.255.255.255/32",),
    "documentation": ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    "benchmarking": ("198.18.0.0/15", "2001:2::/48"),
    "reserved": ("192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "::/0", "2001::/23"),
    "IPv4 inside IPv6": (
        "::/96",  # IPv4-compatible, RFC 4291 section 2.5.5.1
        "::ffff:0:0/96",  # IPv4-mapped, where it was not unwrapped before
        "::ffff:0:0:0/96",  # IPv4-translated, RFC 2765
        "64:ff9b:1::/48",  # NAT64 for local use, RFC 8215
        "2001::/32",  # Teredo, RFC 4380
        "2002::/16",  # 6to4, RFC 3056
    ),
}
_OPEN: Final = ("0.0.0.0/0", "2000::/3", "64:ff9b::/96")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)


def special_blocks() -> list[tuple[IPNetwork, str]]:
    """Every block with the word that refuses it; the empty word marks a block that is open."""
    refused = [(ipaddress.ip_network(text), word) for word, texts in _BLOCKS.items() for text in texts]
    return refused + [(ipaddress.ip_network(text), "") for text in _OPEN]


def faces(address: IPAddress) -> list[IPAddress]:
    """The address, and the IPv4 address that a translator or tunnel on the way would make of it.

    NAT64 (RFC 6052) under the well-known prefix and ISATAP (RFC 5214) interface identifiers are read; the forms that
    have no use on the Internet of today are refused by their block instead.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped:
        return [inner]
    if address in _NAT64 or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return [address, inner]
    return [address]


def parse_face(text: str) -> list[IPAddress]:
    """``faces`` of an address literal. Raises ValueError for anything else."""
    address = parse_ip(text)
    if address is None:
        raise ValueError(f"not an address: {text!r}")
    return faces(address)
