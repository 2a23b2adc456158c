import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.auditor import Auditor
from appliance.domain.decision import TlsAction, TlsDecision
from appliance.domain.facts import ClientFacts
from appliance.policy.decrypt import DecryptPolicy
from tests.appliance.policy.asking import CLIENT

STRICT = [TlsAction.SPLICE, TlsAction.INTERCEPT, TlsAction.BLOCK]


def compiled(**fields: Any) -> DecryptPolicy:
    return DecryptPolicy.compile(Auditor(name="inspect", tls_interception=fields))


def rule(name: str, action: str, **conditions: Any) -> dict[str, Any]:
    return {"name": name, "action": action, **conditions}


def test_c1_no_interception_splices_everything_and_says_so() -> None:
    decision = DecryptPolicy.compile(Auditor(name="inspect", tls_interception=None)).decide(CLIENT, ("a.test",), 443)
    assert decision == TlsDecision(TlsAction.SPLICE, "no_interception")


@pytest.mark.parametrize("action", ["intercept", "splice", "block"])
def test_default_action(action: str) -> None:
    assert compiled(default_action=action).decide(CLIENT, ("a.test",), 443) == TlsDecision(TlsAction(action), "default")
    assert compiled(default_action=action).decide(CLIENT, (), 443) == TlsDecision(TlsAction(action), "default")


def test_c1_same_host_one_user_decrypted_another_spliced() -> None:
    policy = compiled(rules=[rule("boss", "splice", hosts=[".bank.test"], users=["bob"], reason="Works council")])
    assert policy.decide(CLIENT, ("my.bank.test",), 443, "bob") == TlsDecision(TlsAction.SPLICE, "boss", "Works council")
    assert policy.decide(CLIENT, ("my.bank.test",), 443, "alice").action is TlsAction.INTERCEPT
    assert policy.decide(CLIENT, ("my.bank.test",), 443).action is TlsAction.INTERCEPT


def test_rules_in_order_then_short_lists_then_default() -> None:
    policy = compiled(
        rules=[rule("first", "intercept", hosts=["both.test"]), rule("second", "block", hosts=["both.test", "ruled.test"])],
        splice=["both.test", "ruled.test", "listed.test"],
    )
    asked = ("both.test", "ruled.test", "listed.test", "other.test")
    assert [policy.decide(CLIENT, (name,), 443).rule for name in asked] == ["first", "second", "splice_list", "default"]


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
    decision = policy.decide(CLIENT, (name,), 443)
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
    decision = policy.decide(ClientFacts(ip, 1, "s"), ("a.test",), port, user)
    assert (decision.rule == "r") == holds


def test_memory_does_not_mix_sources() -> None:
    policy = compiled(rules=[rule("r", "splice", networks=["10.0.0.0/24"])])
    for ip, expected in (("10.0.0.1", "r"), ("10.0.1.1", "default"), ("10.0.0.1", "r")):
        assert policy.decide(ClientFacts(ip, 1, "s"), ("a.test",), 443).rule == expected


@pytest.mark.security
def test_c8_an_exempt_name_beside_another_exempts_nothing() -> None:
    policy = compiled(splice=[".bank.test"], block=[".bad.test"])
    assert policy.decide(CLIENT, ("my.bank.test", "other.test"), 443).action is TlsAction.INTERCEPT
    assert policy.decide(CLIENT, ("other.test", "my.bank.test"), 443).action is TlsAction.INTERCEPT
    assert policy.decide(CLIENT, ("my.bank.test", "192.0.2.1"), 443).action is TlsAction.INTERCEPT
    assert policy.decide(CLIENT, ("my.bank.test", "x.bad.test"), 443).action is TlsAction.BLOCK
    assert policy.decide(CLIENT, ("my.bank.test", "bank.test"), 443).action is TlsAction.SPLICE


NAMES = ["a.bank.test", "bank.test", "x.bad.test", "other.test", "192.0.2.1", ""]


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), st.sampled_from(["intercept", "splice", "block"]))
def test_c8_the_strictest_answer_counts_in_any_order(names: list[str], default: str) -> None:
    policy = compiled(splice=[".bank.test"], block=[".bad.test"], default_action=default)
    singles = [policy.decide(CLIENT, (name,), 443).action for name in names]
    for order in itertools.permutations(names):
        assert policy.decide(CLIENT, order, 443).action is max(singles, key=STRICT.index)
