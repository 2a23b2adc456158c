"""Policies and facts for the tests of this package."""

from typing import Any

from appliance.config.tenant import Policy, Tenant
from appliance.config.users import UserGroup
from appliance.domain.facts import ClientFacts, RequestFacts, UserFacts
from appliance.domain.ids import TenantId
from appliance.domain.target import Target
from appliance.policy.access import AccessPolicy

CLIENT = ClientFacts("10.0.0.1", 40000, "explicit")
ALICE = UserFacts("alice", "staff")


def policy(name: str, action: str = "block", hosts: dict[str, Any] | None = None, **fields: Any) -> Policy:
    outer = {key: fields.pop(key) for key in ("policy_type", "level", "priority", "enabled", "mode") if key in fields}
    return Policy(name=name, config={"action": action, "hosts": hosts or {}, **fields}, **outer)


def tenant(*policies: Policy, tenant_id: str = "a", **fields: Any) -> Tenant:
    return Tenant(tenant_id=tenant_id, ca="ca", auditor="inspect", policies=list(policies), **fields)


def compiled(*policies: Policy, **fields: Any) -> AccessPolicy:
    return AccessPolicy.compile([tenant(*policies, **fields)], [UserGroup(name="staff"), UserGroup(name="guests")])


def facts(host: str = "example.test", port: int = 443, tenant_id: str = "a", **fields: Any) -> RequestFacts:
    return RequestFacts(TenantId(tenant_id), CLIENT, Target(host, port), **{"scheme": "https", **fields})
