"""The decryption rules: intercept, splice or block a TLS connection. Apart from the access rules, which judge requests."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Protocol

from appliance.config.auditor import Auditor
from appliance.config.host_list import HostList
from appliance.config.interception import TlsInterception
from appliance.domain.decision import TlsAction, TlsDecision
from appliance.domain.errors import ConfigError, Problem
from appliance.domain.facts import ClientFacts, HelloFacts
from appliance.domain.hostmatch import HostMatcher, domain_matcher
from appliance.domain.ids import TenantId
from appliance.domain.tls_facts import Need, TlsFacts
from appliance.policy.decrypt_rule import Asked, Lists, Rule, compile_rule

MEMO_SIZE: Final = 8192

NO_INTERCEPTION: Final = TlsDecision(TlsAction.SPLICE, "no_interception")

_STRICTNESS: Final = {TlsAction.SPLICE: 0, TlsAction.INTERCEPT: 1, TlsAction.BLOCK: 2}
_NOBODY: Final = ClientFacts("", 0, "")
_NO_HELLO: Final = HelloFacts()


class Exclusion(Protocol):
    """What happens to a host that no rule names: spliced, or intercepted to see whether it works again. ``rule`` and ``text``
    stand in the audit record."""

    @property
    def action(self) -> TlsAction: ...
    @property
    def rule(self) -> str: ...
    @property
    def text(self) -> str: ...


class Exclusions(Protocol):
    """Hosts that are not decrypted where no rule says otherwise. ``fingerprint`` is the client's JA4."""

    def find(self, tenant: TenantId, host: str, fingerprint: str, now: float) -> Exclusion | None: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was asked about one name, for a person: ``answer`` is the action, ``skipped``, ``monitor``, ``staged``
    or ``needs``."""

    host: str
    rule: str
    answer: str
    why: str = ""


class DecryptPolicy:
    """Pure, but for the exclusions: the same facts have the same answer. Immutable, apart from a memory of its answers."""

    __slots__ = ("_candidates", "_default", "_dynamic", "_exclusions", "_memory", "_nameless", "_rules", "_shorts", "_uses")

    def __init__(
        self, interception: TlsInterception | None, lists: Lists | None = None, exclusions: Exclusions | None = None
    ) -> None:
        """``interception`` None: nothing is decrypted. ``exclusions`` are asked where no rule and no short list decides."""
        config = interception or TlsInterception()
        self._rules = tuple(compile_rule(rule, lists or {}) for rule in config.rules) if interception else ()
        self._shorts = _short_lists(config) if interception else HostMatcher[TlsAction]()
        self._default = TlsDecision(TlsAction(config.default_action), by_default=True) if interception else NO_INTERCEPTION
        self._dynamic = any(rule.dynamic for rule in self._rules)
        self._nameless = _nameless(config) if interception else None
        self._uses = _Uses.of(self._rules, hello=self._nameless is not None)
        self._exclusions = exclusions if interception else None
        self._memory = lru_cache(maxsize=MEMO_SIZE)(self._judge)
        self._candidates = lru_cache(maxsize=MEMO_SIZE)(self._find_candidates)

    @classmethod
    def compile(cls, auditor: Auditor, lists: Lists | None = None, exclusions: Exclusions | None = None) -> "DecryptPolicy":
        """``lists`` as ``compile_lists`` makes them."""
        return cls(auditor.tls_interception, lists, exclusions)

    def ask(self, facts: TlsFacts) -> TlsDecision | Need:
        """The answer for a connection that claims ``facts.names``, or what must be learnt before there is one.

        Each name is judged on its own and the strictest answer counts (block, then intercept, then splice): with an
        exempt name in the SNI and another in the CONNECT, a client would choose for itself not to be inspected.
        """
        reduced = self._uses.reduced(facts)
        answers: list[TlsDecision] = []
        for name in facts.names or ("",):
            answer = self._judge(facts, name, self._candidates(reduced, name)) if self._dynamic else self._memory(reduced, name)
            if isinstance(answer, Need):
                return answer
            if answer.action is TlsAction.INTERCEPT and answer.by_default and self._exclusions is not None:
                answer = self._excluded(self._exclusions, facts, name) or answer
            answers.append(answer)
        return answers[0] if len(answers) == 1 else _strictest(answers)

    def explain(self, facts: TlsFacts) -> Iterator[Step]:
        """Every rule that is asked, in order, up to the one that decides. The same code as ``ask`` runs."""
        for name in facts.names or ("",):
            for asked in self._walk(facts, name, self._rules):
                yield _spelled(name, asked)

    def _find_candidates(self, facts: TlsFacts, name: str) -> tuple[Rule, ...]:
        """The rules that time, address and certificate can still make hold: the others need not be asked each time."""
        return tuple(rule for rule in self._rules if rule.possible(facts, name))

    @staticmethod
    def _walk(facts: TlsFacts, name: str, rules: Iterable[Rule]) -> Iterator[Asked]:
        """What each rule says, up to the one that decides, or that cannot yet."""
        for rule in rules:
            asked = rule.ask(facts, name)
            yield asked
            if asked.decides or asked.need is not None:
                return

    def _judge(self, facts: TlsFacts, name: str, rules: tuple[Rule, ...] | None = None) -> TlsDecision | Need:
        would: list[str] = []
        staged: list[str] = []
        decision: TlsDecision | None = None
        for asked in self._walk(facts, name, self._rules if rules is None else rules):
            if asked.need is not None:
                return asked.need
            if asked.skipped:
                continue
            if asked.rule.share < 1.0:
                staged.append(f"{asked.rule.name}: {'not in' if asked.outside else 'in'} {asked.rule.share_text}")
            if asked.decides:
                decision = asked.rule.decision
                if asked.unknown:
                    decision = replace(decision, text=_doubtful(decision.text, asked.unknown, facts))
            elif not asked.outside:
                would.append(f"{asked.rule.name}: {asked.rule.decision.action.value}")
        decision = decision or self._unruled(name, facts.hello)
        return replace(decision, would=tuple(would), staged=tuple(staged)) if would or staged else decision

    def _unruled(self, name: str, hello: HelloFacts) -> TlsDecision:
        short = self._shorts.find(name)
        if short is not None:
            return TlsDecision(short.value, f"{short.value.value}_list", str(short))
        return self._default if hello.sni or self._nameless is None else self._nameless

    def _excluded(self, exclusions: Exclusions, facts: TlsFacts, name: str) -> TlsDecision | None:
        found = exclusions.find(facts.tenant, name, facts.hello.ja4, facts.now) if name else None
        return TlsDecision(found.action, found.rule, found.text) if found is not None else None


@dataclass(frozen=True, slots=True)
class _Uses:
    """What the rules look at at all: everything else must not make two equal questions look different."""

    tenant: bool
    user: bool
    client: bool
    hello: bool

    @classmethod
    def of(cls, rules: Iterable[Rule], *, hello: bool = False) -> "_Uses":
        """``hello``: something else than a rule looks at it."""
        rules = tuple(rules)
        staged = any(rule.share < 1.0 for rule in rules)
        return cls(
            tenant=any(rule.uses("tenants") for rule in rules),
            user=staged or any(rule.uses("users", "groups") for rule in rules),
            client=staged or any(rule.uses("networks") for rule in rules),
            hello=hello or any(rule.uses("sni", "ja3", "ja4") for rule in rules),
        )

    def reduced(self, facts: TlsFacts) -> TlsFacts:
        return TlsFacts(
            # the port and the listener of the client are nobody's condition
            ClientFacts(facts.client.ip, 0, "") if self.client else _NOBODY,
            (),
            facts.port,
            facts.tenant if self.tenant else TenantId(""),
            facts.user if self.user else None,
            HelloFacts(sni=facts.hello.sni, ja3=facts.hello.ja3, ja4=facts.hello.ja4) if self.hello else _NO_HELLO,
        )


def compile_lists(nodes: Iterable[HostList]) -> Lists:
    """Host lists by name. Raises ConfigError for a list with flaws: what it means to exempt or block would be a guess."""
    nodes = list(nodes)
    problems = [
        Problem(flaw.message, f"host_list[{node.name}].file", str(node.file), flaw.line)
        for node in nodes
        for flaw in node.flaws
    ]
    if problems:
        raise ConfigError(problems)
    return {node.name: domain_matcher(node.entries) for node in nodes}


def _strictest(answers: list[TlsDecision]) -> TlsDecision:
    """The strictest of them, with what the rules in monitor mode and in stages said about any name."""
    would = tuple(dict.fromkeys(text for answer in answers for text in answer.would))
    staged = tuple(dict.fromkeys(text for answer in answers for text in answer.staged))
    strictest = max(answers, key=lambda answer: _STRICTNESS[answer.action])
    return replace(strictest, would=would, staged=staged) if would or staged else strictest


def _doubtful(text: str, unknown: tuple[str, ...], facts: TlsFacts) -> str:
    """The rule's reason, and that it was applied because something could not be learnt."""
    cause = f" ({facts.upstream.reason.word})" if "certificate" in unknown and facts.upstream else ""
    doubt = f"{', '.join(unknown)} not known{cause}"
    return f"{text}; {doubt}" if text else doubt


def _spelled(name: str, asked: Asked) -> Step:
    rule, action = asked.rule, asked.rule.decision.action.value
    if asked.need is not None:
        return Step(name, rule.name, "needs", asked.need.value)
    if asked.skipped:
        return Step(name, rule.name, "skipped", asked.skipped)
    share = f"{rule.share_text} of the clients" if rule.share < 1.0 else ""
    if asked.outside:
        return Step(name, rule.name, "staged", f"would {action}, but the client is not in {share}")
    if rule.monitor:
        return Step(name, rule.name, "monitor", f"would {action}")
    return Step(name, rule.name, action, f"not known: {', '.join(asked.unknown)}" if asked.unknown else share)


def _nameless(config: TlsInterception) -> TlsDecision | None:
    """What the setting says of a hello without a name; None: it is decided like any other."""
    setting = config.no_sni
    if setting is None:
        return None
    return TlsDecision(TlsAction(setting.action), "no_sni", setting.reason or "the client names no server", page=setting.page)


def _short_lists(config: TlsInterception) -> HostMatcher[TlsAction]:
    """Both lists as one: the closest entry counts, and of two equal ones that which blocks."""
    pairs = [*_pairs(config.block, TlsAction.BLOCK), *_pairs(config.splice, TlsAction.SPLICE)]
    return HostMatcher(
        exact=[(name, action) for name, action in pairs if not name.startswith(".")],
        child=[(name[1:], action) for name, action in pairs if name.startswith(".")],
    )


def _pairs(names: Iterable[str], action: TlsAction) -> list[tuple[str, TlsAction]]:
    return [(name, action) for name in names]
