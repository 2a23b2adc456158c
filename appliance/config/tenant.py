"""Tenants and their policies: the ``tenant`` list."""

from typing import Literal

from pydantic import Field, model_validator

from appliance.config.portal import Pac
from appliance.config.values import Domain, Name, Network, Node, Port, Regex, Url


class TenantMatch(Node):
    """Whose traffic it is; a client that matches several tenants goes to the one of the stronger method."""

    networks: list[Network] = []
    """Source networks; over all tenants the longest prefix wins."""
    sni: list[Domain] = []
    """SNI or destination names, ``.suffix`` for a name and everything below it."""


class HostSet(Node):
    """Hosts, by any of four ways."""

    exact: list[Domain] = []
    """Hosts."""
    child: list[Domain] = []
    """Domains, with everything below them."""
    networks: list[Network] = []
    """Networks of destination addresses."""
    regex: list[Regex] = []
    """Patterns for the whole host name."""


class PolicyConfig(Node):
    """Conditions (all given must hold), then the action."""

    hosts: HostSet = HostSet()
    """Destinations."""
    ports: list[Port] = []
    """Destination ports."""
    methods: list[str] = []
    """HTTP methods."""
    path_regex: list[Regex] = []
    """Patterns searched in the path with its query."""
    users: list[str] = []
    """Names of users."""
    groups: list[str] = []
    """Names of user groups."""
    action: Literal["allow", "block", "redirect", "require_auth"] = "block"
    """What happens when all conditions hold."""
    reason: str = ""
    """Shown to the person."""
    redirect_url: Url = ""
    """Where ``redirect`` sends the client."""
    block_page_url: Url = ""
    """Send the person here instead of showing our page."""

    @model_validator(mode="after")
    def _redirect_has_url(self) -> "PolicyConfig":
        if self.action == "redirect" and not self.redirect_url:
            raise ValueError("action redirect needs redirect_url")
        return self


class Policy(Node):
    """One access rule."""

    name: Name
    """Stands in the audit record and on the page."""
    policy_type: Literal["url_filter", "destination_filter", "site"] = "url_filter"
    """``site`` puts the rule on the site level; ``destination_filter`` records it as ``<level>_destination_filter``."""
    level: Literal["tenant", "user", "site"] = "tenant"
    """Tenant rules are asked first, then user rules, then site rules; the first that does not allow decides."""
    priority: int = 100
    """Lower is asked first; ties go by name."""
    enabled: bool = True
    """false: as if it were not there."""
    mode: Literal["enforce", "monitor"] = "enforce"
    """monitor: what the rule would have done stands in the audit record, and the rules after it decide."""
    config: PolicyConfig = PolicyConfig()
    """Conditions and action."""


class Branding(Node):
    """What pages of this tenant show."""

    contact: str = ""
    """Shown on block pages: whom to ask."""
    title: str = ""
    """The heading of pages."""


class Tenant(Node):
    """A tenant: whose traffic it is, and what holds for it."""

    tenant_id: Name
    """Stands in every audit record. ``default`` is the one for all others."""
    tenant_name: str = ""
    """For people."""
    status: Literal["active", "suspended"] = "active"
    """suspended: every request is refused."""
    match: TenantMatch = TenantMatch()
    """Which clients belong to it."""
    ca: Name
    """The CA that signs for it."""
    auditor: Name
    """How its traffic is looked into."""
    escaper: Name | None = None
    """Its way out; the server's when absent."""
    user_group: Name | None = None
    """Who may use the proxy; absent: no authentication, unless the server asks for it."""
    policies: list[Policy] = []
    """Access rules."""
    branding: Branding = Branding()
    """What its pages show."""
    pac: Pac = Pac()
    """The proxy settings that its clients are given."""
    max_connections: int | None = Field(None, ge=1)
    """Client connections at one time, per worker; absent: no limit of its own."""
