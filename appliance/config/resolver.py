"""Name resolution: the ``resolver`` list."""

from typing import Literal

from pydantic import field_validator

from appliance.config.values import Host, Name, Node, Seconds
from appliance.domain.target import parse_ip


class SystemResolver(Node):
    """The system's getaddrinfo, run in threads, with a bounded cache. ``hosts`` are asked first."""

    name: Name
    """What escapers refer to it by."""
    type: Literal["system"]
    """The kind of resolver."""
    hosts: dict[Host, list[Host]] = {}
    """Static answers: a host and its addresses."""
    cache_ttl: Seconds = 30.0
    """How long an answer is kept."""
    negative_ttl: Seconds = 5.0
    """How long a failure is kept."""
    timeout: Seconds = 5.0
    """One lookup."""

    @field_validator("hosts")
    @classmethod
    def _addresses(cls, hosts: dict[str, list[str]]) -> dict[str, list[str]]:
        for host, addresses in hosts.items():
            if not addresses or not all(parse_ip(address) for address in addresses):
                raise ValueError(f"host {host!r} needs IP addresses, not {', '.join(addresses) or 'nothing'}")
        return hosts


Resolver = SystemResolver
