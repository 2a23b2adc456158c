"""C27: access rules in monitor mode are evaluated and noted, not followed."""

import pytest

from appliance.domain.decision import Action
from tests.appliance.policy.asking import compiled, facts, policy

pytestmark = pytest.mark.unit


def test_c27_what_would_have_happened_is_noted_and_the_next_rule_decides() -> None:
    access = compiled(
        policy("try", mode="monitor", priority=1),
        policy("real", hosts={"exact": ["bad.test"]}, priority=2),
        policy("late", mode="monitor", priority=3),
    )
    allowed, blocked = access.decide(facts("good.test")), access.decide(facts("bad.test"))
    assert (allowed.allowed, allowed.would, allowed.applied) == (True, ("try: block", "late: block"), ())
    assert (blocked.rule, blocked.would, blocked.applied) == ("real", ("try: block",), ("real",))


def test_c27_an_allow_in_monitor_mode_does_not_end_its_level() -> None:
    access = compiled(policy("open", "allow", mode="monitor", priority=1), policy("shut", priority=2))
    decision = access.decide(facts())
    assert (decision.action, decision.rule, decision.would) == (Action.BLOCK, "shut", ("open: allow",))


def test_c27_what_each_name_would_have_met_is_noted() -> None:
    access = compiled(
        policy("a", hosts={"exact": ["a.test"]}, mode="monitor"), policy("b", hosts={"exact": ["b.test"]}, mode="monitor")
    )
    assert access.decide(facts("a.test", sni="b.test")).would == ("a: block", "b: block")


def test_c22_the_explanation_tells_of_it() -> None:
    (step,) = compiled(policy("try", mode="monitor")).explain(facts())
    assert (step.policy, step.decision, step.skipped) == ("try", None, "monitor: would block")
