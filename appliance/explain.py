"""What would happen to a request, and why: the resolver, policies and routers of live traffic, asked without traffic."""

from typing import Literal, NoReturn

from appliance.config.consistency import NameConsistency
from appliance.config.root import AppConfig
from appliance.config.server import HttpProxy, Server, SocksProxy, TcpTproxy
from appliance.domain.clock import SystemClock
from appliance.domain.decision import TlsAction
from appliance.domain.errors import PolicyError
from appliance.domain.facts import ClientFacts, HelloFacts, RequestFacts, UserFacts
from appliance.domain.hostmatch import NetworkMap
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target, parse_ip
from appliance.domain.tls_facts import Need, TlsFacts
from appliance.egress.context import EscapeContext
from appliance.egress.registry import Registry
from appliance.explain_scan import Scanning
from appliance.explain_tls import Learning, Network, about_rule
from appliance.explanation import Explanation
from appliance.identity.hashes import prepare
from appliance.identity.users import Group, prepare_group
from appliance.policy.access import AccessPolicy
from appliance.policy.access import Step as AccessStep
from appliance.policy.decrypt import DecryptPolicy, compile_lists
from appliance.policy.exclusions import compile_exclusions
from appliance.policy.scan_rules import MessageFacts
from appliance.portal.names import PortalNames
from appliance.question import NO_SNI, Question, QuestionError, server_name, split
from appliance.tenancy.registry import Loaded, TenantRegistry
from appliance.tenancy.resolve import TenantResolver


class Explainer:
    """All that decides, built once from a configuration. Use ``close`` at the end."""

    def __init__(self, config: AppConfig, network: Network | None = None) -> None:
        """``network`` answers what rules want to know of a server; None: nothing is sent.

        Raises:
            ConfigError: what the policies and escapers themselves refuse.
        """
        self.network = network
        self._config = config
        self.portal = PortalNames.of(config.portal)
        self.resolver = TenantResolver(config.tenant, config.server)
        self.tenants = TenantRegistry(config.tenant, config.server)
        self.access = AccessPolicy.compile(config.tenant, config.user_group)
        self.auditors = config.auditor
        lists = compile_lists(config.host_list)
        interceptions = {auditor.name: auditor.tls_interception for auditor in config.auditor}
        self.exclusions = compile_exclusions(config.tenant, interceptions, lists, lambda: 1.0)
        """What was learned or added is to be told to them: it stands in no configuration."""
        self.decrypt = {each.name: DecryptPolicy.compile(each, lists, self.exclusions) for each in config.auditor}
        self.groups = {group.name: prepare_group(group) for group in config.user_group}
        self.scanning = Scanning(config, lists)
        self.egress = Registry.from_config(config.escaper, config.resolver, [each.listen.address for each in config.server])

    def close(self) -> None:
        self.egress.close()

    def explain(self, question: Question) -> Explanation:
        """Raises QuestionError."""
        return _Walk(self, question).run()

    def server(self, name: str) -> Server:
        found = next((each for each in self._config.server if name in ("", each.name)), None)
        if found is None:
            names = ", ".join(each.name for each in self._config.server)
            raise QuestionError(f"no server is named {name!r}; there are: {names}")
        return found


class _Stop(Exception):
    """The explanation is complete."""


class _Walk:
    """One question, step by step, as a request takes them."""

    def __init__(self, parts: Explainer, question: Question) -> None:
        self._parts, self._question = parts, question
        self._scheme, self._target, self._path = split(question.url)
        self._sni = _sni(question, self._target)
        self._server = parts.server(question.server)
        address = parse_ip(question.client_ip)
        if address is None:
            raise QuestionError(f"not an IP address: {question.client_ip!r}")
        self._trusted = NetworkMap((net, True) for net in self._server.trusted_proxies).longest(str(address)) is not None
        listen = self._server.listen.address
        self._client = ClientFacts(str(address), 0, self._server.name, listen.host, listen.port, self._trusted)
        self.told = Explanation(question.url, str(address), server=self._server.name)
        self._user: UserFacts | None = None

    def run(self) -> Explanation:
        try:
            self._ingress()
            loaded = self._tenant()
            if not isinstance(self._server, SocksProxy):  # SOCKS asks for the user before it is told a name
                self._portal()
            self._who(loaded)
            self._portal()
            if self._judge(loaded):
                self._scan(loaded)
            self._way_out(loaded)
        except _Stop:
            pass
        return self.told

    def _deny(self, about: str, reason: Reason, why: str, answer: str = "deny") -> NoReturn:
        self.told.add(about, answer, why, deny=reason)
        raise _Stop

    def _ingress(self) -> None:
        rules = self._server.ingress_network_filter
        pairs = [*((net, "deny") for net in rules.deny), *((net, "allow") for net in rules.allow)]
        match = NetworkMap(pairs).longest(self._client.ip)
        action, why = (match.value, str(match)) if match else (rules.default, "default")
        if action == "deny":
            self._deny("listener", Reason.NETWORK_DENIED, f"{self._server.name}: ingress_network_filter, {why}")
        self.told.add("listener", self._server.name, f"ingress_network_filter: {why}")

    def _tenant(self) -> Loaded:
        names = (self._target.host,)
        found = self._parts.resolver.resolve(self._client, claimed=self._question.tenant_header, names=names)
        if found is None:
            if self._scheme == "http" and isinstance(self._server, HttpProxy):
                self._portal("the page says that the tenant is not known")
            self._deny("tenant", Reason.NO_TENANT, "no method finds one, or the one it names does not exist")
        ignored = "; X-Tenant-ID was ignored: the peer is not trusted, or another method decides" if found.ignored_claim else ""
        self.told.tenant, self.told.tenant_method = found.tenant_id, found.method
        self.told.add("tenant", found.tenant_id, f"{found.method} {found.detail}".strip() + ignored)
        if self._parts.tenants.get(found.tenant_id).status == "suspended":
            self._deny("tenant", Reason.TENANT_SUSPENDED, "status: suspended")
        try:
            return self._parts.tenants.load(found.tenant_id, self._server.name)
        except PolicyError as error:
            self._deny("escaper", error.reason, error.detail)

    def _portal(self, why: str = "", *, sni: str = "") -> None:
        """Stop here when the request is for one of the portal's names."""
        names = self._parts.portal
        if self._scheme == "https":
            ours = names.tunnel(self._target, sni)
        else:
            ours = names.request(ConnNotes(self._client), self._target, "http", "", self._path)
        if ours:
            self.told.portal = True
            self.told.decrypt = TlsAction.INTERCEPT.value if self._scheme == "https" else ""
            more = f"; {why}" if why else ""
            self.told.add("portal", "answered here", f"the portal {names.name}: no policy is asked, nothing is sent{more}")
            raise _Stop

    def _who(self, loaded: Loaded) -> None:
        name = self._question.user
        if loaded.user_group is None or isinstance(self._server, TcpTproxy):
            self.told.add("user", "nobody", "no user group: nobody is asked")
            return
        group = self._parts.groups[loaded.user_group]
        if not name:
            if not group.anonymous:
                self._deny("user", Reason.AUTH_REQUIRED, f"user group {group.name}; try --user")
            self.told.add("user", "nobody", f"user group {group.name} admits anonymous clients")
            return
        self._known(group, name)

    def _known(self, group: Group, name: str) -> None:
        user = group.users.get(prepare(name))
        if user is None:
            self._deny("user", Reason.AUTH_FAILED, f"user group {group.name} has no user {name!r}")
        if user.is_blocked(SystemClock().now()):
            self._deny("user", Reason.USER_BLOCKED, f"{name} in {group.name}")
        if not user.may_come_from(self._client.ip):
            self._deny("user", Reason.SOURCE_DENIED, f"{name} may not come from {self._client.ip}")
        self._user, self.told.user = user.facts, name
        self.told.add("user", name, f"user group {group.name}; the password is taken as right")

    def _judge(self, loaded: Loaded) -> bool:
        """Whether the messages can be read."""
        if self._scheme == "http":
            self._access("http", self._question.method, self._path)
            return True
        self._access("connect", "CONNECT", "")
        self._portal(sni=self._sni)  # an address, and the portal's name in the ClientHello
        if self._decrypt(loaded) is not TlsAction.INTERCEPT:
            return False
        self._access("https", self._question.method, self._path)
        return True

    def _scan(self, loaded: Loaded) -> None:
        question = self._question
        facts = MessageFacts(question.method, self._target.host, question.content_type.lower(), question.size)
        for direction, answer, why in self._parts.scanning.explain(loaded.tenant.auditor, facts):
            self.told.add(f"scan {direction}", answer, why)

    def _access(self, scheme: str, method: str, path: str) -> None:
        sni = self._sni if self._scheme == "https" else ""
        facts = RequestFacts(
            TenantId(self.told.tenant),
            self._client,
            self._target,
            scheme=scheme,
            method=method,
            path=path,
            sni=sni,
            user=self._user,
        )
        decision = self._parts.access.decide(facts)
        for step in self._parts.access.explain(facts):
            if step.decision is None or step.decision.allowed:
                self.told.add(f"access {method}", *_spelled(step))
        if not decision.allowed:
            rule = f"{decision.level} policy {decision.rule}".strip()
            message = f": {decision.message}" if decision.message else ""
            url = f" -> {decision.redirect_url}" if decision.redirect_url else ""
            self._deny(f"access {method}", decision.reason, f"{rule}{message}{url}", decision.action.value)
        self.told.add(f"access {method}", "allow", f"applied: {', '.join(decision.applied) or 'no policy says otherwise'}")

    def _decrypt(self, loaded: Loaded) -> TlsAction:
        policy = self._parts.decrypt[loaded.tenant.auditor]
        facts, learning = self._tls_facts(), self._learning(loaded)
        while isinstance(decision := policy.ask(facts), Need):
            learnt = learning.learn(facts, decision)
            self.told.add("decrypt", learnt.answer, learnt.why)
            facts = learnt.facts
        if self._sni and self._sni != self._target.host:
            self._names(loaded)
        for step in policy.explain(facts):
            self.told.add("decrypt rule", step.answer, about_rule(step))
        self.told.decrypt = decision.action.value
        self.told.would = decision.would
        text = f" ({decision.text})" if decision.text else ""
        why = f"auditor {loaded.tenant.auditor}, rule {decision.rule}{text}"
        if decision.action is TlsAction.BLOCK:
            self._deny("decrypt", Reason.DECRYPT_BLOCKED, why, "block")
        self.told.add("decrypt", decision.action.value, why)
        return decision.action

    def _names(self, loaded: Loaded) -> None:
        """The server name is not the host, or the host is an address: what live traffic does about it."""
        config = self._consistency(loaded)
        if parse_ip(self._target.host) is not None:
            self.told.add("names", config.address, f"address {self._target.host}, server name {self._sni}")
        elif config.sni == "block":
            self._deny("names", Reason.SNI_MISMATCH, f"name_consistency.sni: {self._sni}, not {self._target.host}", "block")
        else:
            self.told.add("names", "log", f"server name {self._sni}, not {self._target.host}")

    def _tls_facts(self) -> TlsFacts:
        hello = HelloFacts(sni=self._sni, ja4=self._question.ja4)
        by_name = bool(hello.sni) and parse_ip(self._target.host) is not None
        names = (hello.sni,) if by_name else tuple(dict.fromkeys(name for name in (hello.sni, self._target.host) if name))
        now = SystemClock().now() if self._question.at is None else self._question.at
        return TlsFacts(self._client, names, self._target.port, TenantId(self.told.tenant), self._user, hello, now)

    def _learning(self, loaded: Loaded) -> Learning:
        by_name = self._sni and parse_ip(self._target.host) is not None and self._consistency(loaded).address != "log"
        target = Target(self._sni, self._target.port) if by_name else self._target
        conn = ConnNotes(self._client, tenant=TenantId(self.told.tenant), user=self._user)
        return Learning(self._parts.network, loaded.escaper, conn, target, self._question.address)

    def _consistency(self, loaded: Loaded) -> NameConsistency:
        return next(each for each in self._parts.auditors if each.name == loaded.tenant.auditor).name_consistency

    def _way_out(self, loaded: Loaded) -> None:
        tenant = TenantId(loaded.tenant.tenant_id)
        protocol: Literal["http", "tls"] = "http" if self._scheme == "http" else "tls"
        user = self._user.name if self._user else ""
        context = EscapeContext(tenant, self._target, self._client.ip, user, protocol)
        try:
            choice = self._parts.egress.choose(loaded.escaper, context)
        except PolicyError as error:
            self._deny("escaper", error.reason, error.detail)
        self.told.escaper_path = choice.path
        why = "; ".join(choice.rules)
        if resolver := self._parts.egress.wanted(loaded.escaper, context):
            why += f"; live traffic also asks resolver {resolver} and matches networks, which may choose another way"
        path = " -> ".join(choice.path)
        if choice.leaf.type == "dummy_deny":
            self._deny("escaper", Reason.DENIED_BY_ESCAPER, why or "dummy_deny", path)
        self.told.add("escaper", path, why)


def _sni(question: Question, target: Target) -> str:
    if question.sni == NO_SNI:
        return ""
    return server_name(question.sni) or (target.host if parse_ip(target.host) is None else "")


def _spelled(step: AccessStep) -> tuple[str, str]:
    where = f"{step.level} policy {step.policy}" + (f" on {step.host}" if step.host else "")
    return ("skipped", f"{where}: {step.skipped}") if step.decision is None else ("allowed", where)
