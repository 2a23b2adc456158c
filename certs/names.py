"""The names a certificate may hold, in the one normal form that rules, caches and clients compare."""

from appliance.domain.target import normalise_host, parse_ip

MAX_NAME = 253
"""Octets of a host name in its text form (RFC 1035 section 3.1: 255 on the wire)."""


def dns_name(text: str) -> str:
    """A host name, or a wildcard over one label of a domain of two labels or more; an empty string for all else."""
    wildcard, base = text.startswith("*."), text.removeprefix("*.")
    try:
        name = normalise_host(base)
    except ValueError:
        return ""
    # an address is no dNSName; a wildcard over a top-level domain would claim more than any client accepts
    if parse_ip(name) is not None or (wildcard and ("." not in name or len(name) > MAX_NAME - 2)):
        return ""
    return f"*.{name}" if wildcard else name


def address(text: str) -> str:
    """An IP address in its canonical form, IPv4-mapped IPv6 unwrapped; an empty string for all else."""
    found = parse_ip(text)
    return str(found) if found is not None and "%" not in text else ""


def is_normal(name: str) -> bool:
    """Whether a leaf may be made for this text as it stands."""
    return bool(name) and name in (dns_name(name), address(name))


def covers(names: frozenset[str], host: str) -> bool:
    """Whether a client that asks for ``host`` finds it: itself, or a wildcard in place of its first label (RFC 9525)."""
    return host in names or (parse_ip(host) is None and f"*.{host.partition('.')[2]}" in names)
