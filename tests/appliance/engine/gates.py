"""A gate over a small configuration, for the tests of this package and of the addons."""

from dataclasses import dataclass, field
from typing import Any

from appliance.config.auditor import Auditor
from appliance.config.server import HttpProxy, Server, SocksProxy, TcpTproxy
from appliance.config.tenant import Tenant
from appliance.config.upstream_certificates import UpstreamCertificates
from appliance.config.users import UserGroup
from appliance.domain.clock import ManualClock
from appliance.domain.facts import ClientFacts
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes
from appliance.domain.reason import Reason
from appliance.engine.gate import Gate, TenantView
from appliance.identity.authenticator import Authenticator
from appliance.policy.access import AccessPolicy
from appliance.policy.decrypt import DecryptPolicy
from appliance.policy.upstream_certificates import CertificateMatrix
from appliance.tenancy.quota import ConnectionQuota
from appliance.tenancy.registry import TenantRegistry
from appliance.tenancy.resolve import TenantResolver
from tests.appliance.identity.groups import group, user

KINDS: dict[str, type[HttpProxy] | type[SocksProxy] | type[TcpTproxy]] = {
    "http_proxy": HttpProxy, "socks_proxy": SocksProxy, "tcp_tproxy": TcpTproxy,
}  # fmt: skip


def server(name: str = "explicit", kind: str = "http_proxy", **fields: Any) -> Server:
    return KINDS[kind].model_validate({"name": name, "type": kind, "listen": {"address": "127.0.0.1:0"}, **fields})


def tenant(tenant_id: str, **fields: Any) -> Tenant:
    return Tenant.model_validate({"tenant_id": tenant_id, "ca": "ca", "auditor": "inspect", **fields})


STAFF = group(user("alice", "right"), user("bob", "right", blocked=True, block_config={"delay": 0.01}), name="staff")
GUESTS = group(name="guests", anonymous=True)


@dataclass
class Place:
    tenants: list[Tenant]
    servers: list[Server] = field(default_factory=lambda: [server()])
    groups: list[UserGroup] = field(default_factory=lambda: [STAFF, GUESTS])
    auditor: Auditor = field(default_factory=lambda: Auditor(name="inspect"))
    told: list[Reason] = field(default_factory=list)

    def gate(self) -> Gate:
        self.quota = ConnectionQuota(self.tenants)
        decrypt, matrix = DecryptPolicy.compile(self.auditor), CertificateMatrix(UpstreamCertificates())
        return Gate(
            TenantResolver(self.tenants, self.servers),
            TenantRegistry(self.tenants, self.servers),
            {TenantId(each.tenant_id): TenantView(each, self.auditor, decrypt, matrix) for each in self.tenants},
            Authenticator(self.groups, ManualClock()),
            AccessPolicy.compile(self.tenants, self.groups),
            self.quota,
            self.told.append,
        )  # fmt: skip


def connection(ip: str = "192.0.2.1", listener: str = "explicit", *, trusted: bool = False, **fields: Any) -> ConnNotes:
    return ConnNotes(ClientFacts(ip, 40_000, listener, trusted_peer=trusted), **fields)
