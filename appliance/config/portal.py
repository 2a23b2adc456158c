"""The pages that the appliance gives its own clients, and the proxy settings it hands out: ``portal``, ``tenant.pac``."""

from pydantic import field_validator

from appliance.config.values import Domain, Host, Network, Node, ProxyAddress
from appliance.domain.target import parse_ip


class Portal(Node):
    """Pages on a fixed name, through every listener: install the CA, test whether it is installed, proxy.pac.

    They are shown without authentication: who has to sign in may need them to get so far. They hold public things only.
    """

    enabled: bool = True
    """false: the name is like any other."""
    name: Host = "arcus.internal"
    """The fixed name. It is never looked up, nor connected to. Transparent clients need an entry for it in their DNS, to any
    address that is routed through the appliance."""
    listener_names: list[Host] = []
    """Names by which clients reach an ``http_proxy`` listener directly, as in ``http://proxy.example.com:8080/proxy.pac``;
    its own address, ``wpad`` and ``wpad.*`` always count."""
    wpad: bool = True
    """Answer ``/wpad.dat`` and ``/proxy.pac`` for ``wpad`` and ``wpad.*``, through the proxy as well: then nobody who owns
    such a name in the Internet hands out proxy settings."""

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if parse_ip(value) is not None or "." not in value:
            raise ValueError(f"not a name with a dot: {value!r} (write arcus.internal)")
        return value


class Pac(Node):
    """The proxy auto-configuration file of a tenant: ``/proxy.pac`` and ``/wpad.dat`` of the portal."""

    enabled: bool = True
    """false: the files do not exist."""
    proxies: list[ProxyAddress] = []
    """In order of preference: ``host:port``, ``https://host:port`` for a listener with TLS, ``socks5://host:port``. Absent: the
    address of the listener that the client came through."""
    direct_hosts: list[Domain] = []
    """Reached without the proxy: ``host``, or ``.suffix`` for a name and everything below it."""
    direct_networks: list[Network] = []
    """The same for addresses that stand in the URL itself; names are not resolved for this."""
    plain_names_direct: bool = False
    """Names without a dot are reached without the proxy."""
    fallback_direct: bool = False
    """true: when no proxy answers, clients connect without it, and nothing is inspected."""
