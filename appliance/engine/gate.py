"""Decisions about a connection, joined: which tenant, which user, may it go there, is it decrypted.

Lanes and addons ask here; what is asked is answered by tenancy, identity and policy, and written into the notes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from appliance.config.auditor import Auditor
from appliance.config.consistency import NameConsistency
from appliance.config.tenant import Tenant
from appliance.domain.decision import Action, Decision, TlsDecision
from appliance.domain.ech import EchMode
from appliance.domain.errors import PolicyError
from appliance.domain.facts import ClientFacts, HelloFacts, RequestFacts, UserFacts
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target, unmapped
from appliance.domain.tls_facts import Need, TlsFacts
from appliance.domain.upstream import UpstreamFacts
from appliance.identity import schemes
from appliance.identity.authenticator import Authenticator
from appliance.policy.access import AccessPolicy
from appliance.policy.decrypt import DecryptPolicy
from appliance.policy.upstream_certificates import CertificateMatrix
from appliance.portal.names import NO_PORTAL, PortalNames
from appliance.tenancy.quota import ConnectionQuota
from appliance.tenancy.registry import TenantRegistry
from appliance.tenancy.resolve import TenantResolver


@dataclass(frozen=True, slots=True)
class TenantView:
    """One tenant with everything that was prepared for it."""

    config: Tenant
    auditor: Auditor
    decrypt: DecryptPolicy
    certificates: CertificateMatrix

    @property
    def ech(self) -> EchMode:
        interception = self.auditor.tls_interception
        return interception.ech if interception is not None else "allow"


class Gate:
    """``authenticated`` is told how each check of credentials, or the lack of them, ended."""

    def __init__(
        self,
        resolver: TenantResolver,
        tenants: TenantRegistry,
        views: dict[TenantId, TenantView],
        authenticator: Authenticator,
        access: AccessPolicy,
        quota: ConnectionQuota,
        authenticated: Callable[[Reason], None],
        portal: PortalNames = NO_PORTAL,
    ) -> None:
        self.portal = portal
        self._resolver = resolver
        self._tenants = tenants
        self._views = views
        self._authenticator = authenticator
        self._access = access
        self._authenticated = authenticated
        self._quota = quota
        self._by_address = frozenset(
            (tenant, policy.name)
            for tenant, view in views.items()
            for policy in view.config.policies
            if policy.config.hosts.networks
        )
        self._address_tenants = frozenset(tenant for tenant, _ in self._by_address)

    def view(self, conn: ConnNotes) -> TenantView:
        """The tenant of an identified connection. Raises KeyError before ``identify`` succeeded."""
        return self._views[conn.tenant or TenantId("")]

    def identify(self, conn: ConnNotes, claimed: str = "", names: Sequence[str] = ()) -> Reason:
        """Find the tenant; a name that is learnt later (SNI) may replace a default. OK, or why the client is refused."""
        found = self._resolver.resolve(conn.client, claimed=claimed, names=names)
        if found is None:
            return Reason.NO_TENANT
        if found.ignored_claim and "tenant_header_ignored" not in conn.events:
            conn.events.append("tenant_header_ignored")
        if conn.tenant != found.tenant_id and (reason := self._move(conn, found.tenant_id)) is not Reason.OK:
            return reason
        conn.tenant, conn.tenant_method, conn.tenant_detail = found.tenant_id, found.method, found.detail
        return Reason.TENANT_SUSPENDED if self.view(conn).config.status == "suspended" else Reason.OK

    def _move(self, conn: ConnNotes, tenant: TenantId) -> Reason:
        """Count the connection for its new tenant, no longer for the one before."""
        self.release(conn)
        conn.user = None  # an identity belongs to the tenant that vouched for it
        reason = self._quota.acquire_tenant(tenant)
        if reason is Reason.OK:
            conn.tenant = tenant
        return reason

    def release(self, conn: ConnNotes) -> None:
        """The connection ends, or leaves its tenant."""
        if conn.tenant is not None:
            self._quota.release_tenant(conn.tenant)
            conn.tenant = None

    def group(self, conn: ConnNotes) -> str | None:
        """The user group that this connection's users are in; the listener's, else the tenant's; None: no authentication."""
        return self._tenants.user_group(conn.tenant or TenantId(""), conn.client.server)

    def escaper(self, conn: ConnNotes) -> str:
        """The name of this connection's way out; empty when it has none, or no tenant yet."""
        try:
            return self._tenants.escaper(conn.tenant or TenantId(""), conn.client.server)
        except PolicyError:
            return ""

    def admits_anonymous(self, group: str) -> bool:
        return self._authenticator.anonymous(group).reason is Reason.OK

    def challenge(self, conn: ConnNotes) -> str:
        return self._authenticator.challenge(self.group(conn) or "")

    async def authenticate(self, conn: ConnNotes, header: str | None) -> tuple[UserFacts | None, Reason, str]:
        """Judge a Proxy-Authorization value: the user, or a reason and a detail for the record."""
        group = self.group(conn)
        if group is None:
            return None, Reason.OK, ""
        if header is None:
            if self.admits_anonymous(group):
                return None, Reason.OK, ""
            self._authenticated(Reason.AUTH_REQUIRED)
            return None, Reason.AUTH_REQUIRED, ""
        try:
            user, password = schemes.parse_basic(header)
        except ValueError as error:
            self._authenticated(Reason.AUTH_FAILED)
            return None, Reason.AUTH_FAILED, str(error)
        return await self.verify(conn, user, password)

    async def verify(self, conn: ConnNotes, user: str, password: str) -> tuple[UserFacts | None, Reason, str]:
        """Check a name and a password in the connection's group."""
        group = self.group(conn)
        if group is None:
            return None, Reason.OK, ""
        result = await self._authenticator.basic(group, user, password, conn.client.ip)
        self._authenticated(result.reason)
        if result.delay:
            await asyncio.sleep(result.delay)
        detail = result.detail or (f"user {user}" if result.user is None else "")
        return result.user, result.reason, detail

    def access(self, facts: RequestFacts) -> Decision:
        """The access policy's answer.

        On a redirected connection the name decides, so that allow-lists of names work; a policy about addresses is asked
        about the address as well, or a name in the ClientHello would be a way around it.
        """
        decision = self._access.decide(facts)
        if decision.allowed and facts.original_ip and facts.tenant in self._address_tenants:
            about_address = self._access.decide(replace(facts, target=Target(facts.original_ip, facts.target.port), sni=""))
            if not about_address.allowed and (facts.tenant, *about_address.applied[-1:]) in self._by_address:
                return about_address
        return decision

    def tls_facts(self, conn: ConnNotes, names: tuple[str, ...], port: int, now: float) -> TlsFacts:
        """What the decryption rules may look at, as far as it is known without asking anybody."""
        tenant, hello = conn.tenant or TenantId(""), conn.hello or HelloFacts()
        return TlsFacts(conn.client, names, port, tenant, conn.user, hello, now)

    def tls_of(self, conn: ConnNotes, host: str, port: int, now: float) -> TlsDecision:
        """What the decryption rules say about one more host of a connection, by what is known; nobody is asked."""
        facts = self.tls_facts(conn, (host,), port, now)
        while isinstance(answer := self.tls(conn, facts), Need):
            unknown = conn.upstream or UpstreamFacts(Reason.UPSTREAM_TLS_FAILED, "not looked at")
            facts = facts.with_addresses(()) if answer is Need.ADDRESSES else facts.with_upstream(unknown)
        return answer

    def consistency(self, conn: ConnNotes) -> NameConsistency:
        """What happens when the connection's names do not agree."""
        return self.view(conn).auditor.name_consistency

    def tls(self, conn: ConnNotes, facts: TlsFacts) -> TlsDecision | Need:
        """The decryption rules' answer, or what must be learnt first."""
        return self.view(conn).decrypt.ask(facts)


def refuses(decision: Decision) -> bool:
    """Whether a tunnel must be refused at once: port and user rules have no page to show, hosts have one inside TLS."""
    immediate = (Reason.PORT_DENIED, Reason.AUTH_REQUIRED, Reason.USER_BLOCKED, Reason.SOURCE_DENIED, Reason.TENANT_SUSPENDED)
    return decision.action is not Action.ALLOW and decision.reason in immediate


def client_facts(server: str, peer: tuple[str, int], local: tuple[str, int], trusted: bool) -> ClientFacts:
    """IPv4 clients of a dual-stack listener appear as IPv4."""
    return ClientFacts(unmapped(peer[0]), peer[1], server, unmapped(local[0]), local[1], trusted)
