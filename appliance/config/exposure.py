"""What the network can reach: addresses are given once, and nothing is an open proxy by default."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.config.document import Path
from appliance.config.server import IngressFilter, Server, TcpTproxy
from appliance.config.tenant import Tenant
from appliance.config.values import Listen
from appliance.config.view import View
from appliance.domain.target import Target, parse_ip

_EVERYTHING = {4: ipaddress.ip_network("0.0.0.0/0"), 6: ipaddress.ip_network("::/0")}


@dataclass(frozen=True, slots=True)
class _Listener:
    path: Path
    what: str
    listen: Listen

    @property
    def address(self) -> Target:
        return self.listen.address


def check_exposure(view: View) -> None:
    listeners = list(_listeners(view))
    _same_address(view, listeners)
    _parents_are_others(view, listeners)
    for path, server in view.each("server"):
        _open_proxy(view, path, server)
    _admin(view)


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a listener there."""
    address = parse_ip(host)
    return address.is_loopback if address else host == "localhost"


def _listeners(view: View) -> Iterator[_Listener]:
    for path, server in view.each("server"):
        yield _Listener((*path, "listen", "address"), f"server {server.name!r}", server.listen)
    config = view.config
    if config.icap_server is not None:
        for key, listen in config.icap_server.listens.items():
            what = f"icap_server.{key}".removesuffix(".listen")
            yield _Listener(("icap_server", *key.split("."), "address"), what, listen)
    if config.admin is not None:
        yield _Listener(("admin", "listen", "address"), "admin", config.admin.listen)
    if config.demo_origin is not None:
        yield _Listener(("demo_origin", "https", "address"), "demo_origin.https", config.demo_origin.https)
        yield _Listener(("demo_origin", "http", "address"), "demo_origin.http", config.demo_origin.http)


def _same_address(view: View, listeners: list[_Listener]) -> None:
    for index, later in enumerate(listeners):
        for earlier in listeners[:index]:
            if _overlap(earlier.address, later.address):
                view.error(later.path, f"{later.address} is taken by {earlier.what}, which listens on {earlier.address}")


def _overlap(one: Target, other: Target) -> bool:
    """``[::]`` takes IPv4, too."""
    if one.port != other.port or not one.port:
        return False
    if one.host == other.host or "::" in (one.host, other.host):
        return True
    return "0.0.0.0" in (one.host, other.host) and not any(":" in target.host for target in (one, other))


def _parents_are_others(view: View, listeners: list[_Listener]) -> None:
    for path, node in view.each("escaper"):
        parent: Target | None = getattr(node, "proxy_addr", None)
        own = next((each for each in listeners if parent and _reaches(parent, each.address)), None)
        if own is not None:
            view.error((*path, "proxy_addr"), f"{parent} is {own.what} of this configuration: traffic would go in circles")


def _reaches(parent: Target, listener: Target) -> bool:
    return _overlap(listener, parent) and (listener.host == parent.host or is_loopback(parent.host))


def _open_proxy(view: View, path: Path, server: Server) -> None:
    address = server.listen.address
    if is_loopback(address.host) or _restricted(server.ingress_network_filter, address.host):
        return
    where = (*path, "listen", "address")
    if isinstance(server, TcpTproxy):
        view.warn(where, f"{address} takes traffic from every network: ingress_network_filter would limit it to yours")
        return
    open_to = _without_authentication(view, server)
    if open_to:
        cause = "" if open_to == [""] else f" for tenant {', '.join(open_to)}"
        view.error(
            where,
            f"open proxy{cause}: {address} can be used from every network, without authentication; add a user_group "
            "that is not anonymous, or an ingress_network_filter with default: deny and your networks under allow",
        )


def _restricted(networks: IngressFilter, host: str) -> bool:
    """Whether at least some addresses of each family that can connect are refused by intent."""
    families = (4, 6) if host == "::" else (6,) if ":" in host else (4,)
    return all(_denied_by_default(networks, family) for family in families)


def _denied_by_default(networks: IngressFilter, family: int) -> bool:
    everything = _EVERYTHING[family]
    if everything in _collapsed(networks.deny, family):
        return True
    return everything not in _collapsed(networks.allow, family) and networks.default == "deny"


def _collapsed(networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network], family: int) -> list[object]:
    """0.0.0.0/1 and 128.0.0.0/1 are everything, too."""
    return list(ipaddress.collapse_addresses(net for net in networks if net.version == family))  # type: ignore[type-var]


def _without_authentication(view: View, server: Server) -> list[str]:
    """The tenants whose users need not say who they are; one empty name when the listener itself asks nobody."""
    asked = {group.name: not group.anonymous for group in view.config.user_group}
    if server.user_group is not None:
        return [] if asked.get(server.user_group, True) else [""]
    tenants = [tenant for tenant in view.config.tenant if _comes_here(server, tenant)]
    return [tenant.tenant_id for tenant in tenants if not (tenant.user_group and asked.get(tenant.user_group, True))]


def _comes_here(server: Server, tenant: Tenant) -> bool:
    return server.tenant_context is None or server.tenant_context.tenant_id == tenant.tenant_id


def _admin(view: View) -> None:
    admin = view.config.admin
    if admin is not None and not admin.allow_remote and not is_loopback(admin.listen.address.host):
        view.error(
            ("admin", "listen", "address"),
            f"{admin.listen.address} can be reached from other machines: listen on 127.0.0.1, or set allow_remote: true",
        )
    icap = view.config.icap_server
    if icap is not None and icap.listen is not None and not is_loopback(icap.listen.address.host):
        view.warn(
            ("icap_server", "listen", "address"),
            f"{icap.listen.address} can be reached from other machines, and ICAP has no authentication",
        )
