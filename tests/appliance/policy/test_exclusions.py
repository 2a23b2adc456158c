"""C3, D5: hosts that are not decrypted, and everything that is stronger than an exclusion."""

import ast
import datetime
from typing import Any

import pytest

from appliance.config.exclusions import ExclusionConfig
from appliance.config.interception import TlsInterception
from appliance.config.tenant import Tenant
from appliance.domain.decision import TlsAction
from appliance.domain.exclusion import Kind, Learned
from appliance.domain.facts import ClientFacts, HelloFacts
from appliance.domain.ids import TenantId
from appliance.domain.tls_facts import TlsFacts
from appliance.policy.decrypt import DecryptPolicy
from appliance.policy.exclusions import ASKER_SECONDS, ASKERS, Exclusions, Veto, compile_exclusions, shipped

NOW = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.UTC).timestamp()
APP, OTHER = "t13d1516h2_8daaf6152771_e5627efa2ab1", "t12d1516h2_8daaf6152771_000000000000"
A, B = TenantId("a"), TenantId("b")


def tenant(name: str = "a", *policies: dict[str, Any]) -> Tenant:
    named = [{"name": f"p{number}"} | policy for number, policy in enumerate(policies)]
    return Tenant.model_validate({"tenant_id": name, "ca": "c", "auditor": "x", "policies": named})


def interception(**changes: Any) -> TlsInterception:
    return TlsInterception.model_validate({"exclusions": {"shipped": False}} | changes)


def learned(**changes: Any) -> Learned:
    values: dict[str, Any] = {
        "id": "01x", "tenant": "a", "host": "app.test", "fingerprint": APP, "kind": Kind.PINNED, "reason": "pinned",
        "until": NOW + 60, "retest": 0,
    }  # fmt: skip
    return Learned(**values | changes)


def table(config: TlsInterception, *entries: Learned, who: Tenant | None = None, draw: float = 1.0) -> Exclusions:
    made = compile_exclusions([who or tenant(), tenant("b")], {"x": config}, {}, lambda: draw)
    made.learn(entries)
    return made


def decide(config: TlsInterception, exclusions: Exclusions, *names: str, ja4: str = APP, who: TenantId = A) -> tuple[str, str]:
    policy = DecryptPolicy(config, {}, exclusions)
    answer = policy.ask(TlsFacts(ClientFacts("10.0.0.1", 1, "in"), names, 443, who, hello=HelloFacts(ja4=ja4), now=NOW))
    assert not hasattr(answer, "value")
    return answer.action.value, answer.rule  # type: ignore[union-attr]


INTERCEPTED = ("intercept", "default")


def test_d5_only_the_learned_program_is_spliced() -> None:
    config = interception()
    known = table(config, learned())
    assert decide(config, known, "app.test") == ("splice", "exclusion:01x")
    assert decide(config, known, "app.test", ja4=OTHER) == INTERCEPTED
    assert decide(config, known, "app.test", ja4="") == INTERCEPTED
    assert decide(config, known, "www.app.test") == INTERCEPTED


@pytest.mark.security
def test_d5_another_tenant_s_clients_are_intercepted() -> None:
    config = interception()
    assert decide(config, table(config, learned()), "app.test", who=B) == INTERCEPTED
    assert decide(config, table(config, learned(fingerprint="", kind=Kind.MTLS)), "app.test", who=B) == INTERCEPTED


@pytest.mark.security
def test_d5_both_names_must_be_excluded() -> None:
    config = interception()
    known = table(config, learned())
    assert decide(config, known, "app.test", "evil.test") == INTERCEPTED
    assert decide(config, known, "evil.test", "app.test") == INTERCEPTED


@pytest.mark.security
@pytest.mark.parametrize("ahead", [-60.0, 0.0])
def test_d5_what_has_run_out_excludes_nothing(ahead: float) -> None:
    config = interception()
    assert decide(config, table(config, learned(until=NOW + ahead)), "app.test") == INTERCEPTED


@pytest.mark.security
@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"rules": [{"name": "r", "action": "block", "hosts": ["app.test"]}]}, ("block", "r")),
        ({"rules": [{"name": "r", "action": "intercept", "hosts": [".test"]}]}, ("intercept", "r")),
        ({"block": [".test"]}, ("block", "block_list")),
        ({"default_action": "block"}, ("block", "default")),
    ],
)
@pytest.mark.parametrize("kind", ["learned", "own", "shipped"])
def test_d5_no_exclusion_is_stronger_than_a_rule(rules: dict[str, Any], expected: tuple[str, str], kind: str) -> None:
    name = shipped()[0].host.removeprefix(".") if kind == "shipped" else "app.test"
    as_given = {"app.test": name, ".test": "." + name.partition(".")[2]}
    text = str(rules)
    for old, new in as_given.items():
        text = text.replace(f"'{old}'", f"'{new}'")
    exclusions = {"shipped": kind == "shipped", "hosts": [{"host": name, "reason": "r"}] if kind == "own" else []}
    config = interception(**ast.literal_eval(text), exclusions=exclusions)
    entries = [learned()] if kind == "learned" else []
    assert decide(config, table(config, *entries), name) == expected


@pytest.mark.security
@pytest.mark.parametrize(
    ("policy", "vetoed"),
    [
        ({"config": {"hosts": {"exact": ["app.test"]}, "path_regex": ["/upload"]}}, True),
        ({"config": {"hosts": {"child": ["test"]}}}, True),
        ({"config": {"path_regex": ["/upload"]}}, True),
        ({"config": {"methods": ["POST"]}}, True),
        ({"config": {"hosts": {"exact": ["other.test"]}, "path_regex": ["/upload"]}}, False),
        ({"config": {"hosts": {"exact": ["app.test"]}, "path_regex": ["/x"], "action": "allow"}}, False),
        ({"enabled": False, "config": {"hosts": {"exact": ["app.test"]}}}, False),
        ({"mode": "monitor", "config": {"hosts": {"exact": ["app.test"]}}}, False),
        ({"config": {"ports": [25]}}, False),
    ],
)
def test_d5_access_policies_that_look_into_a_host_stand_against_it(policy: dict[str, Any], vetoed: bool) -> None:
    config, who = interception(), tenant("a", policy)
    assert bool(Veto(who, config, {}).why("app.test")) is vetoed
    answer = decide(config, table(config, learned(), who=who), "app.test")
    assert answer == (INTERCEPTED if vetoed else ("splice", "exclusion:01x"))


@pytest.mark.security
def test_d5_never_is_stronger_than_every_list() -> None:
    name = shipped()[0].host.removeprefix(".")
    for host, entries in (("app.test", [learned()]), (name, [])):
        exclusions = {"shipped": True, "never": [host], "hosts": [{"host": host, "reason": "r"}]}
        config = interception(exclusions=exclusions)
        assert decide(config, table(config, *entries), host) == INTERCEPTED


def test_c3_the_shipped_list_can_be_left_out() -> None:
    name = shipped()[0].host.removeprefix(".")
    on, off = interception(exclusions={"shipped": True}), interception()
    assert decide(on, table(on), name) == ("splice", f"exclusion:shipped:{shipped()[0].group}")
    assert decide(off, table(off), name) == INTERCEPTED
    assert ExclusionConfig().shipped


def test_c3_the_shipped_list_is_small_and_every_entry_has_a_reason() -> None:
    entries = shipped()
    assert 20 < len(entries) < 60
    assert len({entry.host for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.reason
        assert entry.host == entry.host.lower()
        assert entry.host.removeprefix(".").count(".") >= 1


@pytest.mark.parametrize(("until", "excluded"), [("2026-06-01", True), ("2026-05-31", False), (None, True)])
def test_c3_a_tenant_s_own_entry_holds_through_its_last_day(until: str | None, excluded: bool) -> None:
    config = interception(exclusions={"shipped": False, "hosts": [{"host": ".own.test", "reason": "r", "until": until}]})
    answer = decide(config, table(config), "www.own.test")
    assert answer == (("splice", "exclusion:.own.test") if excluded else INTERCEPTED)


@pytest.mark.parametrize(("draw", "retested"), [(0.0, True), (0.0999, True), (0.1, False), (0.999, False)])
def test_d5_one_of_so_many_is_decrypted_again(draw: float, retested: bool) -> None:
    config = interception()
    answer = decide(config, table(config, learned(retest=10), draw=draw), "app.test")
    assert answer == (("intercept", "exclusion:01x:retest") if retested else ("splice", "exclusion:01x"))


def test_c17_a_server_s_exclusion_is_for_every_client() -> None:
    config = interception()
    known = table(config, learned(fingerprint="", kind=Kind.MTLS))
    assert decide(config, known, "app.test", ja4=OTHER) == ("splice", "exclusion:01x")


def test_d5_the_record_links_the_evidence() -> None:
    found = table(interception(), learned()).find(A, "app.test", APP, NOW)
    assert found is not None
    assert (found.action, found.text) == (TlsAction.SPLICE, "pinned (/exclusions/01x)")


def test_c17_a_server_that_asked_is_spliced_for_a_while_where_the_policy_says_so() -> None:
    config = interception(on_client_certificate="splice")
    known = table(config)
    known.asked(A, "app.test", NOW)
    assert decide(config, known, "app.test", ja4=OTHER) == ("splice", "exclusion:on_client_certificate")
    assert decide(config, known, "app.test", who=B) == INTERCEPTED
    known.asked(A, "late.test", NOW - ASKER_SECONDS)
    assert decide(config, known, "late.test") == INTERCEPTED


@pytest.mark.security
def test_c17_a_server_that_asked_is_decrypted_under_any_other_policy_or_a_rule() -> None:
    for config in (
        interception(),
        interception(on_client_certificate="block"),
        interception(on_client_certificate="splice", exclusions={"shipped": False, "never": ["app.test"]}),
    ):
        known = table(config)
        known.asked(A, "app.test", NOW)
        assert decide(config, known, "app.test") == INTERCEPTED


@pytest.mark.security
def test_c17_servers_that_ask_are_remembered_up_to_a_limit() -> None:
    config = interception(on_client_certificate="splice")
    known = table(config)
    for number in range(ASKERS + 1):
        known.asked(A, f"h{number}.test", NOW)
    assert decide(config, known, "h0.test") == INTERCEPTED
    assert decide(config, known, "h1.test") == ("splice", "exclusion:on_client_certificate")
