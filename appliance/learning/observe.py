"""From audit events to observations. Events are the appliance's own, but hold what clients say."""

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from appliance.domain.exclusion import Kind
from appliance.domain.learning import Acceptance, Key, Refusal

type Event = Mapping[str, Any]

IPV6_CLIENT: Final = 64
"""Whoever has one address of a /64 has all of them (RFC 7934)."""
SEEN: Final = (
    "conn_id", "tenant_id", "user_id", "source_ip", "destination_host", "user_agent", "created_at", "kind", "conn_requests",
    "decrypt", "tls_failure", "tls_failure_side", "client_hello.ja4", "client_hello.sni", "client_tls.alert",
    "client_tls.error", "client_tls.version", "server_tls.alert",
)  # fmt: skip
"""All that is looked at of an event."""
_AGENT: Final = 200
_NAME: Final = 300
_REFUSED: Final = frozenset({"client_reject", "pinned"})


def client_of(event: Event) -> str:
    """Who it was, so that one person does not count twice: the user who signed in, else the address, of IPv6 the /64."""
    user, ip = _text(event.get("user_id")), _text(event.get("source_ip"))
    if user:
        return f"user:{user}"[:_NAME]
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ""
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, IPV6_CLIENT), strict=False))


def refusal(event: Event) -> Refusal | None:
    """A connection that the interception broke; None for any other event."""
    failure, host, client = event.get("tls_failure"), _host(event), client_of(event)
    if event.get("decrypt") != "intercept" or not host or not client:
        return None
    tenant, conn_id, at = _text(event.get("tenant_id")), _text(event.get("conn_id")), _time(event)
    if failure in _REFUSED and event.get("tls_failure_side") == "client":
        fingerprint, kind = _text(_part(event, "client_hello").get("ja4")), Kind.PINNED
        cause = _text(_part(event, "client_tls").get("alert")) or "closed"
    elif failure == "mtls":
        fingerprint, kind = "", Kind.MTLS
        cause = _text(_part(event, "server_tls").get("alert")) or "closed"
    else:
        return None
    if not tenant or not conn_id or (kind is Kind.PINNED and not fingerprint):
        return None
    return Refusal(conn_id, Key(tenant, host, fingerprint, kind), client, cause, at)


def acceptance(event: Event) -> Acceptance | None:
    """A client that went on inside TLS after it had seen our certificate; None for any other event."""
    hello, tls = _part(event, "client_hello"), _part(event, "client_tls")
    served = event.get("kind") in ("request", "websocket") and event.get("decrypt") == "intercept" and bool(tls.get("version"))
    if not served or event.get("tls_failure") or tls.get("error") or event.get("conn_requests") != 1:
        return None
    tenant, client, fingerprint = _text(event.get("tenant_id")), client_of(event), _text(hello.get("ja4"))
    host = _text(hello.get("sni")) or _text(event.get("destination_host"))
    if not (tenant and client and fingerprint and host):
        return None
    return Acceptance(tenant, client, fingerprint, host, _text(event.get("user_agent"))[:_AGENT], _time(event))


def _host(event: Event) -> str:
    """The name that client and tunnel agree on; with two names it would be the client's choice which one is excluded."""
    target, sni = _text(event.get("destination_host")), _text(_part(event, "client_hello").get("sni"))
    if not sni or sni == target:
        return target
    try:
        ipaddress.ip_address(target)
    except ValueError:
        return ""
    return sni


def _part(event: Event, name: str) -> Event:
    value = event.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= 2048 else ""


def _time(event: Event) -> float:
    value = event.get("created_at")
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e12 else 0.0
