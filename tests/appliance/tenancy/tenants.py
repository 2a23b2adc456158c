"""Tenants and listeners for the tests of this package."""

from typing import Any

from appliance.config.server import HttpProxy
from appliance.config.tenant import Tenant
from appliance.domain.facts import ClientFacts


def tenant(tenant_id: str, **fields: Any) -> Tenant:
    return Tenant(tenant_id=tenant_id, **{"ca": "ca", "auditor": "inspect", **fields})


def server(name: str, **fields: Any) -> HttpProxy:
    return HttpProxy(name=name, type="http_proxy", listen={"address": "127.0.0.1:0"}, **fields)


def client(ip: str = "192.0.2.1", listener: str = "explicit", trusted: bool = False) -> ClientFacts:
    return ClientFacts(ip, 40000, listener, trusted_peer=trusted)
