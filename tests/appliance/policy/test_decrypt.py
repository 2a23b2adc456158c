import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.auditor import Auditor
from appliance.config.host_list import HostList
from appliance.domain.decision import TlsAction, TlsDecision
from appliance.domain.errors import ConfigError
from appliance.domain.facts import ClientFacts, HelloFacts, UserFacts
from appliance.domain.ids import TenantId
from appliance.domain.notes import CertNotes
from appliance.domain.reason import Reason
from appliance.domain.tls_facts import Need, TlsFacts
from appliance.domain.upstream import UpstreamFacts
from appliance.policy.decrypt import DecryptPolicy, compile_lists
from tests.appliance.policy.asking import CLIENT

CERT = CertNotes("ab", "CN=a.test", "CN=CA", "1", 0.0, 1.0)
STRICT = [TlsAction.SPLICE, TlsAction.INTERCEPT, TlsAction.BLOCK]


def compiled(**fields: Any) -> DecryptPolicy:
    return DecryptPolicy.compile(Auditor(name="inspect", tls_interception=fields))


def decide(policy: DecryptPolicy, client: ClientFacts, names: tuple[str, ...], port: int, user: str = "") -> TlsDecision:
    answer = policy.ask(TlsFacts(client, names, port, user=UserFacts(user, "staff") if user else None))
    assert isinstance(answer, TlsDecision)
    return answer


def rule(name: str, action: str, **conditions: Any) -> dict[str, Any]:
    return {"name": name, "action": action, **conditions}


def test_c1_no_interception_splices_everything_and_says_so() -> None:
    decision = decide(DecryptPolicy.compile(Auditor(name="inspect", tls_interception=None)), CLIENT, ("a.test",), 443)
    assert decision == TlsDecision(TlsAction.SPLICE, "no_interception")


@pytest.mark.parametrize("action", ["intercept", "splice", "block"])
def test_default_action(action: str) -> None:
    assert decide(compiled(default_action=action), CLIENT, ("a.test",), 443) == TlsDecision(TlsAction(action), "default")
    assert decide(compiled(default_action=action), CLIENT, (), 443) == TlsDecision(TlsAction(action), "default")


def test_c1_same_host_one_user_decrypted_another_spliced() -> None:
    policy = compiled(rules=[rule("boss", "splice", hosts=[".bank.test"], users=["bob"], reason="Works council")])
    assert decide(policy, CLIENT, ("my.bank.test",), 443, "bob") == TlsDecision(TlsAction.SPLICE, "boss", "Works council")
    assert decide(policy, CLIENT, ("my.bank.test",), 443, "alice").action is TlsAction.INTERCEPT
    assert decide(policy, CLIENT, ("my.bank.test",), 443).action is TlsAction.INTERCEPT


def test_rules_in_order_then_short_lists_then_default() -> None:
    policy = compiled(
        rules=[rule("first", "intercept", hosts=["both.test"]), rule("second", "block", hosts=["both.test", "ruled.test"])],
        splice=["both.test", "ruled.test", "listed.test"],
    )
    asked = ("both.test", "ruled.test", "listed.test", "other.test")
    assert [decide(policy, CLIENT, (name,), 443).rule for name in asked] == ["first", "second", "splice_list", "default"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bank.test", ("splice", "splice_list", "child_match bank.test")),
        ("a.bank.test", ("splice", "splice_list", "child_match bank.test")),
        ("evil.bank.test", ("block", "block_list", "exact_match evil.bank.test")),
        ("x.bad.test", ("block", "block_list", "child_match bad.test")),
        ("ok.bad.test", ("splice", "splice_list", "exact_match ok.bad.test")),
        ("tie.test", ("block", "block_list", "exact_match tie.test")),
        ("notbank.test", ("intercept", "default", "")),
    ],
)
def test_short_lists_are_one_list_and_the_closest_entry_counts(name: str, expected: tuple[str, str, str]) -> None:
    policy = compiled(splice=[".bank.test", "ok.bad.test", "tie.test"], block=[".bad.test", "evil.bank.test", "tie.test"])
    decision = decide(policy, CLIENT, (name,), 443)
    assert (decision.action.value, decision.rule, decision.text) == expected


@pytest.mark.parametrize(
    ("conditions", "ip", "port", "user", "holds"),
    [
        ({"ports": [8443]}, "10.0.0.1", 8443, "", True),
        ({"ports": [8443]}, "10.0.0.1", 443, "", False),
        ({"networks": ["10.0.0.0/24"]}, "10.0.0.1", 443, "", True),
        ({"networks": ["10.0.0.0/24"]}, "::ffff:10.0.0.1", 443, "", True),
        ({"networks": ["10.0.0.0/24"]}, "10.0.1.1", 443, "", False),
        ({"networks": ["2001:db8::/32"]}, "2001:db8::1", 443, "", True),
        ({"users": ["alice"], "ports": [443]}, "10.0.0.1", 443, "alice", True),
        ({"users": ["alice"], "ports": [443]}, "10.0.0.1", 444, "alice", False),
        ({}, "10.0.0.1", 443, "", True),
    ],
)
def test_c1_all_conditions_that_are_given_must_hold(
    conditions: dict[str, Any], ip: str, port: int, user: str, holds: bool
) -> None:
    policy = compiled(rules=[rule("r", "splice", **conditions)])
    decision = decide(policy, ClientFacts(ip, 1, "s"), ("a.test",), port, user)
    assert (decision.rule == "r") == holds


def test_memory_does_not_mix_sources() -> None:
    policy = compiled(rules=[rule("r", "splice", networks=["10.0.0.0/24"])])
    for ip, expected in (("10.0.0.1", "r"), ("10.0.1.1", "default"), ("10.0.0.1", "r")):
        assert decide(policy, ClientFacts(ip, 1, "s"), ("a.test",), 443).rule == expected


@pytest.mark.security
def test_c8_an_exempt_name_beside_another_exempts_nothing() -> None:
    policy = compiled(splice=[".bank.test"], block=[".bad.test"])
    assert decide(policy, CLIENT, ("my.bank.test", "other.test"), 443).action is TlsAction.INTERCEPT
    assert decide(policy, CLIENT, ("other.test", "my.bank.test"), 443).action is TlsAction.INTERCEPT
    assert decide(policy, CLIENT, ("my.bank.test", "192.0.2.1"), 443).action is TlsAction.INTERCEPT
    assert decide(policy, CLIENT, ("my.bank.test", "x.bad.test"), 443).action is TlsAction.BLOCK
    assert decide(policy, CLIENT, ("my.bank.test", "bank.test"), 443).action is TlsAction.SPLICE


NAMES = ["a.bank.test", "bank.test", "x.bad.test", "other.test", "192.0.2.1", ""]


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), st.sampled_from(["intercept", "splice", "block"]))
def test_c8_the_strictest_answer_counts_in_any_order(names: list[str], default: str) -> None:
    policy = compiled(splice=[".bank.test"], block=[".bad.test"], default_action=default)
    singles = [decide(policy, CLIENT, (name,), 443).action for name in names]
    for order in itertools.permutations(names):
        assert decide(policy, CLIENT, tuple(order), 443).action is max(singles, key=STRICT.index)


# -- conditions that are new to rules, one by one

HELLO = HelloFacts(sni="a.test", ja3="0" * 32, ja4="t13d1516h2_8daaf6152771_02713d6af862")
NOON = 1_772_452_800.0
"""Monday, 2 March 2026, 12:00 UTC."""


def facts(**fields: Any) -> TlsFacts:
    return TlsFacts(**{"client": CLIENT, "names": ("a.test",), "port": 443, "hello": HELLO, "now": NOON, **fields})


@pytest.mark.parametrize(
    ("conditions", "changes", "holds"),
    [
        ({"tenants": ["blue"]}, {"tenant": TenantId("blue")}, True),
        ({"tenants": ["blue"]}, {"tenant": TenantId("red")}, False),
        ({"groups": ["staff"]}, {"user": UserFacts("alice", "staff")}, True),
        ({"groups": ["staff"]}, {"user": UserFacts("alice", "guests")}, False),
        ({"groups": ["staff"]}, {}, False),
        ({"sni": "present"}, {}, True),
        ({"sni": "absent"}, {}, False),
        ({"sni": "absent"}, {"hello": HelloFacts()}, True),
        ({"ja3": ["0" * 32]}, {}, True),
        ({"ja3": ["1" * 32]}, {}, False),
        ({"ja4": ["t13d1516h2_8daaf6152771_02713d6af862"]}, {}, True),
        ({"ja4": ["t13d15*"]}, {}, True),
        ({"ja4": ["t12*", "t13d1516h2"]}, {}, False),
        ({"ja4": ["t13*"]}, {"hello": HelloFacts()}, False),
        ({"times": [{"days": ["mon"], "hours": ["09:00-17:00"]}]}, {}, True),
        ({"times": [{"days": ["tue"]}, {"hours": ["13:00-17:00"]}]}, {}, False),
        ({"host_lists": ["banks"]}, {"names": ("my.bank.test",)}, True),
        ({"host_lists": ["banks"]}, {}, False),
        ({"hosts": ["a.test"], "host_lists": ["banks"]}, {}, True),
        ({"destinations": ["192.0.2.0/24"]}, {"addresses": ("192.0.2.1", "192.0.2.2")}, True),
        ({"destinations": ["192.0.2.0/24"]}, {"addresses": ("192.0.2.1", "198.51.100.1")}, False),
        ({"destinations": ["192.0.2.0/24"]}, {"addresses": ()}, False),
        ({"certificate": {"keys": ["ec"]}}, {"upstream": UpstreamFacts(certificate=CERT, key_type="ec")}, True),
        ({"certificate": {"keys": ["ec"]}}, {"upstream": UpstreamFacts(Reason.CONNECT_REFUSED)}, False),
    ],
)  # fmt: skip
def test_c1_each_condition_by_itself(conditions: dict[str, Any], changes: dict[str, Any], holds: bool) -> None:
    auditor = Auditor(name="x", tls_interception={"rules": [rule("r", "splice", **conditions)]})
    policy = DecryptPolicy.compile(auditor, compile_lists([HostList(name="banks", hosts=[".bank.test"])]))
    answer = policy.ask(facts(**changes))
    assert isinstance(answer, TlsDecision)
    assert (answer.rule == "r") is holds


@pytest.mark.parametrize(
    ("conditions", "need", "learnt"),
    [
        ({"destinations": ["192.0.2.0/24"]}, Need.ADDRESSES, {"addresses": ()}),
        ({"certificate": {"issuer": ["x"]}}, Need.CERTIFICATE, {"upstream": UpstreamFacts(Reason.CONNECT_TIMEOUT)}),
    ],
)
@pytest.mark.security
def test_c1_what_is_needed_is_asked_for_and_what_cannot_be_known_never_lets_pass(
    conditions: dict[str, Any], need: Need, learnt: dict[str, Any]
) -> None:
    """A rule that blocks or intercepts holds where its condition cannot be judged; one that splices does not."""
    for action, holds in (("splice", False), ("intercept", True), ("block", True)):
        policy = compiled(rules=[rule("r", action, ports=[443], reason="why", **conditions)], default_action="intercept")
        assert policy.ask(facts()) is need
        assert isinstance(policy.ask(facts(port=80)), TlsDecision), "a rule that cannot match anyway asks for nothing"
        answer = policy.ask(facts(**learnt))
        assert isinstance(answer, TlsDecision)
        assert (answer.rule == "r") is holds
        if holds:
            assert answer.text.startswith("why; ")
            assert "not known" in answer.text


def test_c1_for_a_rule_that_blocks_one_address_is_enough() -> None:
    policy = compiled(rules=[rule("r", "block", destinations=["192.0.2.0/24"])])
    answer = policy.ask(facts(addresses=("198.51.100.1", "192.0.2.1")))
    assert isinstance(answer, TlsDecision)
    assert answer.rule == "r"


def test_c27_a_rule_in_monitor_mode_is_noted_and_the_rules_after_it_decide() -> None:
    rules = [
        rule("try", "block", mode="monitor", reason="soon"),
        rule("other", "block", mode="monitor", hosts=["b.test"]),
        rule("real", "splice"),
        rule("never", "block", mode="monitor"),
    ]
    answer = compiled(rules=rules).ask(facts())
    assert isinstance(answer, TlsDecision)
    assert (answer.rule, answer.action, answer.would) == ("real", TlsAction.SPLICE, ("try: block",))
    both = compiled(rules=rules).ask(facts(names=("a.test", "b.test")))
    assert isinstance(both, TlsDecision)
    assert both.would == ("try: block", "other: block")


def test_d9_a_staged_rule_holds_for_its_share_and_both_arms_are_recorded() -> None:
    policy = compiled(rules=[rule("new", "block", share="25%")])
    arms: dict[str, int] = {}
    for number in range(400):
        answer = policy.ask(facts(client=ClientFacts(f"10.1.{number // 200}.{number % 200}", 1, "s")))
        assert isinstance(answer, TlsDecision)
        (said,) = answer.staged
        assert (answer.rule == "new") == (said == "new: in 25%")
        arms[said] = arms.get(said, 0) + 1
    assert set(arms) == {"new: in 25%", "new: not in 25%"}
    assert 60 < arms["new: in 25%"] < 140


class Learned:
    """Exclusions: one host for one fingerprint."""

    action, rule, text = TlsAction.SPLICE, "exclusion", "pinned"

    def find(self, tenant: TenantId, host: str, fingerprint: str, now: float) -> "Learned | None":
        return self if (tenant, host, fingerprint, now) == ("blue", "a.test", HELLO.ja4, NOON) else None


@pytest.mark.parametrize(
    ("rules", "changes", "expected"),
    [
        ([], {}, ("exclusion", TlsAction.SPLICE)),
        ([], {"tenant": TenantId("red")}, ("default", TlsAction.INTERCEPT)),
        ([], {"hello": HelloFacts()}, ("default", TlsAction.INTERCEPT)),
        ([], {"names": ("a.test", "b.test")}, ("default", TlsAction.INTERCEPT)),
        ([rule("r", "intercept")], {}, ("r", TlsAction.INTERCEPT)),
        ([rule("r", "block")], {}, ("r", TlsAction.BLOCK)),
    ],
)
def test_c3_exclusions_stand_between_the_rules_and_the_default(
    rules: list[dict[str, Any]], changes: dict[str, Any], expected: tuple[str, TlsAction]
) -> None:
    policy = DecryptPolicy.compile(Auditor(name="x", tls_interception={"rules": rules}), None, Learned())
    answer = policy.ask(facts(**{"tenant": TenantId("blue"), **changes}))
    assert isinstance(answer, TlsDecision)
    assert (answer.rule, answer.action) == expected


def test_c3_a_default_that_does_not_decrypt_asks_for_no_exclusion() -> None:
    policy = DecryptPolicy.compile(Auditor(name="x", tls_interception={"default_action": "block"}), None, Learned())
    answer = policy.ask(facts(tenant=TenantId("blue")))
    assert isinstance(answer, TlsDecision)
    assert answer.action is TlsAction.BLOCK


def test_c22_the_explanation_says_why_each_rule_before_did_not_match() -> None:
    rules = [
        rule("elsewhere", "block", ports=[8443]),
        rule("try", "block", mode="monitor"),
        rule("few", "block", share="0%"),
        rule("mine", "splice", hosts=[".test"], times=[{"days": ["sun"]}]),
        rule("last", "intercept"),
        rule("unreached", "block"),
    ]
    steps = list(compiled(rules=rules).explain(facts()))
    assert [(step.rule, step.answer, step.why) for step in steps] == [
        ("elsewhere", "skipped", "ports"),
        ("try", "monitor", "would block"),
        ("few", "staged", "would block, but the client is not in 0% of the clients"),
        ("mine", "skipped", "times"),
        ("last", "intercept", ""),
    ]


CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "ports": st.just([443]), "hosts": st.sampled_from([["a.test"], [".test"], ["b.test"]]), "tenants": st.just(["blue"]),
        "destinations": st.just(["192.0.2.0/24"]), "sni": st.sampled_from(["present", "absent"]), "share": st.just("50%"),
        "certificate": st.just({"keys": ["ec"]}), "mode": st.sampled_from(["enforce", "monitor"]),
        "times": st.just([{"days": ["mon"]}]), "ja4": st.just(["t13*"]),
    },
)  # fmt: skip
RULES = st.lists(st.tuples(st.sampled_from(["intercept", "splice", "block"]), CONDITIONS), max_size=5)


@given(RULES, st.sampled_from([(), ("192.0.2.1",), ("198.51.100.1",)]), st.sampled_from(["ec", "rsa", ""]))
def test_c22_the_explanation_ends_with_the_rule_that_decides(
    rules: list[tuple[str, dict[str, Any]]], addresses: tuple[str, ...], key: str
) -> None:
    policy = compiled(rules=[rule(f"r{at}", action, **conditions) for at, (action, conditions) in enumerate(rules)])
    seen = UpstreamFacts(certificate=CERT, key_type=key) if key else UpstreamFacts(Reason.CONNECT_REFUSED)
    asked = facts(addresses=addresses, upstream=seen)
    answer, steps = policy.ask(asked), list(policy.explain(asked))
    assert isinstance(answer, TlsDecision)
    decided = [step.rule for step in steps if step.answer in ("intercept", "splice", "block")]
    assert decided == ([] if answer.rule == "default" else [answer.rule])
    assert [f"{step.rule}: {step.why.removeprefix('would ')}" for step in steps if step.answer == "monitor"] == list(
        answer.would
    )


def test_memory_does_not_mix_what_rules_look_at() -> None:
    rules = [rule("t", "block", tenants=["red"]), rule("g", "splice", groups=["staff"]), rule("j", "block", ja3=["1" * 32])]
    policy = compiled(rules=rules)
    asked = (
        (facts(tenant=TenantId("red")), "t"), (facts(user=UserFacts("a", "staff")), "g"),
        (facts(hello=HelloFacts(ja3="1" * 32)), "j"), (facts(), "default"), (facts(tenant=TenantId("red")), "t"),
    )  # fmt: skip
    for one, expected in (*asked, *reversed(asked)):
        answer = policy.ask(one)
        assert isinstance(answer, TlsDecision)
        assert answer.rule == expected


def test_a_list_with_flaws_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("a.test\nnot one\n")
    with pytest.raises(ConfigError, match=r"l\.txt:2: host_list\[x\]\.file: more than one entry"):
        compile_lists([HostList(name="x", file=tmp_path / "l.txt")])


# -- clients that name no server


@pytest.mark.parametrize("action", ["intercept", "splice", "block"])
def test_c19_no_sni_is_asked_after_rules_and_lists_and_before_exclusions_and_the_default(action: str) -> None:
    class Everything:
        def find(self, tenant: TenantId, host: str, fingerprint: str, now: float) -> TlsDecision:
            return TlsDecision(TlsAction.SPLICE, "exclusion:test")

    interception = {
        "no_sni": {"action": action, "page": False, "reason": "why"},
        "rules": [rule("mine", "block", hosts=["ruled.test"])],
        "splice": ["listed.test"],
        "default_action": "intercept",
    }
    auditor = Auditor(name="x", tls_interception=interception)
    policy = DecryptPolicy.compile(auditor, {}, Everything())

    def answer(host: str, hello: HelloFacts) -> TlsDecision:
        found = policy.ask(facts(names=(host,), hello=hello))
        assert isinstance(found, TlsDecision)
        return found

    for hello in (HelloFacts(), HELLO, HelloFacts(ja4=HELLO.ja4), HELLO, HelloFacts()):
        assert answer("ruled.test", hello).rule == "mine"
        assert answer("listed.test", hello).rule == "splice_list"
        found = answer("other.test", hello)
        assert found.rule == ("exclusion:test" if hello.sni else "no_sni")
        if not hello.sni:
            assert (found.action, found.page, found.text, found.by_default) == (TlsAction(action), False, "why", False)


def test_c19_without_the_setting_a_missing_name_changes_nothing() -> None:
    policy = DecryptPolicy.compile(Auditor(name="x", tls_interception={"default_action": "splice"}))
    assert policy.ask(facts(hello=HelloFacts())) == policy.ask(facts()) == TlsDecision(TlsAction.SPLICE)


def test_c19_no_sni_gives_its_reason_also_where_the_operator_wrote_none() -> None:
    policy = DecryptPolicy.compile(Auditor(name="x", tls_interception={"no_sni": "block"}))
    found = policy.ask(facts(hello=HelloFacts()))
    assert isinstance(found, TlsDecision)
    assert (found.text, found.page) == ("the client names no server", True)
