"""Destinations, in one normal form: what a rule compares is what the dialer dials.

A host is either an IP address in its canonical text form (without brackets), or a DNS name in lower case, as
A-labels (RFC 5890), without the trailing dot. Everything else is refused: an ambiguous spelling of an address
(``0x7f.1``, ``2130706433``, ``127.1``, ``[::ffff:127.0.0.1]``) must not be one thing to a rule and another to the resolver.
"""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

type IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
type IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a task wants to go. ``host`` is normalised, ``port`` is 1 to 65535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@lru_cache(maxsize=8192)
def parse_ip(text: str) -> IPAddress | None:
    """The address that this canonical text stands for, IPv4-mapped IPv6 unwrapped; None for a name."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


@lru_cache(maxsize=8192)
def unmapped(address: str) -> str:
    """An IPv4 client of a dual-stack socket (``::ffff:192.0.2.1``) as IPv4; any other address as it is."""
    return address.removeprefix("::ffff:") if "." in address else address


_MAX_TEXT = 320
"""Longer than any name in its normal form and every other spelling worth remembering."""


def normalise_host(text: str) -> str:
    """The normal form of a host as it stands in a URL, a Host field, an SNI or a rule.

    Raises:
        ValueError: the text is no host name and no IP address (RFC 1123, RFC 3986 section 3.2.2), or an
            address in a spelling that other software reads differently.
    """
    return _normal(text) if len(text) <= _MAX_TEXT else _normal.__wrapped__(text)


@lru_cache(maxsize=4096)
def _normal(text: str) -> str:
    # remembered: every step of a connection asks for the same name again
    bracketed = text.startswith("[") and text.endswith("]")
    host = text[1:-1] if bracketed else text
    address = parse_ip(host)
    if address is not None and not (bracketed and "." in host and ":" not in host) and "%" not in host:
        return str(address)
    if bracketed or ":" in host:
        raise ValueError(f"not an IPv6 address: {text!r}")
    name = _to_ascii(host).lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        raise ValueError(f"not a host name: {text!r}")
    if _NUMERIC_LABEL.match(labels[-1]):
        raise ValueError(f"not a canonical IPv4 address: {text!r}")
    return name


def _to_ascii(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"not an internationalised host name: {host!r}") from error


def parse_port(text: str) -> int:
    """A port of 1 to 5 ASCII digits. Raises ValueError otherwise."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise ValueError(f"not a port: {text!r}")
    return int(text)


@lru_cache(maxsize=8192)
def parse_authority(text: str, default_port: int | None = None) -> Target:
    """``host``, ``host:port`` or ``[v6]:port`` (RFC 3986 section 3.2) without userinfo.

    Raises:
        ValueError: malformed, or no port and no default.
    """
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        host += bracket
        colon, port = rest[:1], rest[1:]
        if rest and colon != ":":
            raise ValueError(f"not an authority: {text!r}")
    else:
        host, colon, port = text.partition(":")
    if not colon:
        if default_port is None:
            raise ValueError(f"no port: {text!r}")
        return Target(normalise_host(host), default_port)
    return Target(normalise_host(host), parse_port(port))
