import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.tenant import Policy
from appliance.domain.decision import Action, Decision
from appliance.domain.errors import ConfigError
from appliance.domain.facts import UserFacts
from appliance.domain.reason import Reason
from appliance.domain.target import normalise_host
from appliance.policy.access import AccessPolicy, reaches
from tests.appliance.policy.asking import ALICE, compiled, facts, policy, tenant

GAMES = {"child": ["games.test"]}
EXAMPLE = {"exact": ["example.test"]}


def brief(decision: Decision) -> tuple[str, str, str]:
    return decision.action.value, decision.rule, decision.level


# -- levels, order, what is listed --


@pytest.mark.parametrize(
    "denying", [set(each) for n in range(4) for each in itertools.combinations(["tenant", "user", "site"], n)]
)
def test_pol_01_tenant_then_user_then_site_and_the_first_no_wins(denying: set[str]) -> None:
    rules = [
        policy(f"{level}-rule", "block" if level in denying else "allow", EXAMPLE, level=level)
        for level in ("site", "user", "tenant")
    ]
    decision = compiled(*rules).decide(facts(user=ALICE))
    order = ["tenant", "user", "site"]
    first = next((level for level in order if level in denying), None)
    if first is None:
        assert decision.allowed
        assert decision.applied == ("tenant-rule", "user-rule", "site-rule")
    else:
        assert brief(decision) == ("block", f"{first}-rule", first)
        assert decision.applied == tuple(f"{level}-rule" for level in order[: order.index(first) + 1])


def test_pol_02_action_reason_applied_and_redirect_are_all_there() -> None:
    access = compiled(
        policy("ok", "allow", {"child": ["test"]}, priority=1),
        policy("away", "redirect", EXAMPLE, level="user", redirect_url="https://portal.test/why", reason="Ask first"),
    )
    decision = access.decide(facts())
    assert decision == Decision(
        Action.REDIRECT,
        Reason.POLICY_REDIRECTED,
        "away",
        "user",
        "Ask first",
        "https://portal.test/why?reason=policy_redirected&policy=away",
        ("ok", "away"),
    )


def test_pol_03_without_a_matching_rule_a_request_passes() -> None:
    decision = compiled(policy("no-games", hosts=GAMES)).decide(facts())
    assert (decision.allowed, decision.reason, decision.applied) == (True, Reason.OK, ())


def test_pol_03_allow_ends_its_level_only() -> None:
    access = compiled(
        policy("allow-chess", "allow", {"exact": ["chess.games.test"]}, priority=1),
        policy("no-games", hosts=GAMES, priority=2),
        policy("no-chess-for-users", hosts={"exact": ["chess.games.test"]}, level="user", users=["bob"]),
    )
    assert access.decide(facts("chess.games.test", user=ALICE)).applied == ("allow-chess",)
    assert access.decide(facts("chess.games.test", user=UserFacts("bob", "staff"))).rule == "no-chess-for-users"
    assert access.decide(facts("go.games.test")).rule == "no-games"


@pytest.mark.parametrize("host", ["games.test", "www.games.test", "a.b.games.test"])
def test_pol_04_block(host: str) -> None:
    decision = compiled(policy("no-games", hosts=GAMES, reason="Games are not allowed")).decide(facts(host))
    assert brief(decision) == ("block", "no-games", "tenant")
    assert (decision.reason, decision.message) == (Reason.POLICY_BLOCKED, "Games are not allowed")
    assert decision.reason.status == 403


@pytest.mark.security
@pytest.mark.parametrize("host", ["evilgames.test", "games.test.evil.example", "gamesxtest"])
def test_pol_04_suffixes_are_whole_labels(host: str) -> None:
    assert compiled(policy("no-games", hosts=GAMES)).decide(facts(host)).allowed


def test_pol_15_priority_then_name_and_disabled_is_never_asked() -> None:
    rules = [
        policy("z", hosts=EXAMPLE, priority=5),
        policy("b", hosts=EXAMPLE, priority=10),
        policy("a", hosts=EXAMPLE, priority=10),
        policy("never", hosts=EXAMPLE, priority=1, enabled=False),
    ]
    for order in itertools.permutations(rules):
        assert compiled(*order).decide(facts()).rule == "z"
        assert compiled(*[rule for rule in order if rule.name != "z"]).decide(facts()).rule == "a"
    steps = compiled(*rules).explain(facts("other.test"))
    assert [step.policy for step in steps] == ["z", "a", "b"]


def test_pol_15_a_disabled_policy_is_not_even_compiled_into_a_redirect() -> None:
    off = policy("off", "redirect", EXAMPLE, redirect_url="https://portal.test/", enabled=False)
    assert compiled(off).decide(facts()).allowed


# -- conditions --


@pytest.mark.parametrize(
    ("conditions", "asked", "holds"),
    [
        ({"ports": [8443]}, {"port": 8443}, True),
        ({"ports": [8443]}, {"port": 443}, False),
        ({"methods": ["post"]}, {"method": "POST"}, True),
        ({"methods": ["POST"]}, {"method": "GET"}, False),
        ({"methods": ["POST"]}, {}, False),
        ({"users": ["alice"]}, {"user": ALICE}, True),
        ({"users": ["alice"]}, {"user": UserFacts("bob", "staff")}, False),
        ({"users": ["alice"]}, {}, False),
        ({"groups": ["staff"]}, {"user": ALICE}, True),
        ({"groups": ["guests"]}, {"user": ALICE}, False),
        ({"users": ["alice"], "groups": ["guests"]}, {"user": ALICE}, False),
        ({"path_regex": ["^/admin"]}, {"path": "/admin/x"}, True),
        ({"path_regex": ["^/admin"]}, {"path": "/x?/admin"}, False),
        ({"path_regex": ["^/admin"]}, {}, False),
        ({"hosts": {"regex": [r".*\.ads\..*"]}}, {"host": "x.ads.test"}, True),
        ({"hosts": {"regex": ["ads"]}}, {"host": "x.ads.test"}, False),
        ({"hosts": {"networks": ["203.0.113.0/24"]}}, {"host": "203.0.113.9"}, True),
        ({"hosts": {"networks": ["203.0.113.0/24"]}}, {"host": "203.0.114.9"}, False),
        ({"hosts": {"exact": [".suffix.test"]}}, {"host": "a.suffix.test"}, True),
        ({"hosts": {"child": ["*.suffix.test"]}}, {"host": "a.suffix.test"}, True),
        ({"hosts": GAMES, "ports": [80]}, {"host": "games.test", "port": 443}, False),
        ({}, {}, True),
    ],
)
def test_all_conditions_that_are_given_must_hold(conditions: dict, asked: dict, holds: bool) -> None:
    decision = compiled(policy("rule", **conditions)).decide(facts(**asked))
    assert decision.allowed != holds


@pytest.mark.security
@pytest.mark.parametrize(
    "path", ["/admin/", "/%61dmin/", "/x/../admin/", "//admin/", "/./admin/", "/x/%2e%2e/admin/", "/ADMIN/", "/%2Fadmin/"]
)
def test_a_disguised_path_is_blocked(path: str) -> None:
    access = compiled(policy("no-admin", path_regex=["^/admin/"]))
    assert not access.decide(facts(path=path)).allowed


@pytest.mark.security
@pytest.mark.parametrize("path", ["/public/../admin/", "/public/%2e%2e/admin/", "/public%2f../admin"])
def test_a_disguised_path_is_not_allowed(path: str) -> None:
    access = compiled(policy("public", "allow", path_regex=["^/public/"], priority=1), policy("rest", priority=2))
    assert access.decide(facts(path="/public/x")).allowed
    assert access.decide(facts(path=path)).rule == "rest"


# -- names --


@pytest.mark.security
@pytest.mark.parametrize("block", [True, False])
def test_c8_every_name_is_judged_a_fronted_one_gains_nothing(block: bool) -> None:
    if block:
        access = compiled(policy("no-games", hosts=GAMES))
    else:
        access = compiled(policy("ours", "allow", {"child": ["ours.test"]}, priority=1), policy("rest", priority=2))
    good, bad = ("ours.test", "games.test")
    for target, sni, host in itertools.product([good, bad], repeat=3):
        decision = access.decide(facts(target, sni=sni, host_header=host))
        assert decision.allowed == (bad not in (target, sni, host))


def test_names_that_all_pass_list_what_applied_to_any() -> None:
    access = compiled(policy("one", "allow", {"exact": ["one.test"]}), policy("two", "allow", {"exact": ["two.test"]}))
    assert access.decide(facts("one.test", sni="two.test")).applied == ("one", "two")


# -- users --


def test_usr_06_port_filter() -> None:
    user = UserFacts("alice", "staff", dst_ports=frozenset({80, 443}))
    decision = compiled().decide(facts(port=22, scheme="connect", user=user))
    assert (decision.action, decision.reason, decision.reason.status) == (Action.BLOCK, Reason.PORT_DENIED, 403)
    assert brief(decision) == ("block", "dst_port_filter", "user")
    assert compiled().decide(facts(port=443, user=user)).applied == ("dst_port_filter",)
    assert not compiled().decide(facts(port=443, user=UserFacts("x", "staff", dst_ports=frozenset()))).allowed


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("allowed.test", True),
        ("sub.allowed.test", False),
        ("safe.test", True),
        ("deep.in.safe.test", True),
        ("unsafe.test", False),
        ("elsewhere.test", False),
        ("192.0.2.7", False),
    ],
)
def test_usr_07_host_filter_allows_only_what_it_names(host: str, allowed: bool) -> None:
    user = UserFacts("alice", "staff", dst_hosts=frozenset({"allowed.test", ".safe.test"}))
    decision = compiled().decide(facts(host, user=user))
    assert decision.allowed == allowed
    assert decision.reason is (Reason.OK if allowed else Reason.HOST_DENIED)


@pytest.mark.security
def test_usr_07_host_filter_judges_every_name() -> None:
    user = UserFacts("alice", "staff", dst_hosts=frozenset({"allowed.test"}))
    assert compiled().decide(facts("allowed.test", sni="evil.test", user=user)).reason is Reason.HOST_DENIED
    assert compiled().decide(facts("allowed.test", host_header="evil.test", user=user)).reason is Reason.HOST_DENIED


@given(st.lists(st.from_regex(r"[a-z]{1,3}", fullmatch=True), min_size=1, max_size=5), st.integers(0, 5))
def test_usr_07_reaches_is_label_wise(labels: list[str], cut: int) -> None:
    host = ".".join([*labels, "test"])
    suffix = ".".join([*labels, "test"][min(cut, len(labels)) :])
    assert reaches(frozenset({"." + suffix}), host)
    assert reaches(frozenset({suffix}), host) == (suffix == host)
    assert not reaches(frozenset({"." + suffix}), f"{host}x")


def test_tenant_rules_are_asked_before_the_filters_of_a_user() -> None:
    user = UserFacts("alice", "staff", dst_ports=frozenset({80}))
    assert compiled(policy("no", hosts=EXAMPLE)).decide(facts(user=user)).rule == "no"
    decision = compiled(policy("yes", "allow", hosts=EXAMPLE)).decide(facts(user=user))
    assert (decision.reason, decision.applied) == (Reason.PORT_DENIED, ("yes", "dst_port_filter"))


def test_pol_07_require_auth_asks_once_and_then_goes_on() -> None:
    access = compiled(
        policy("who", "require_auth", priority=1),
        policy("no-games", hosts=GAMES, priority=2),
        policy("ok", "allow", priority=3),
    )
    asked = access.decide(facts())
    assert (asked.action, asked.reason, asked.reason.status) == (Action.REQUIRE_AUTH, Reason.AUTH_REQUIRED, 407)
    assert access.decide(facts(user=ALICE)).applied == ("who", "ok")
    assert access.decide(facts("games.test", user=ALICE)).rule == "no-games"


# -- destinations, redirects, sites --


def test_pol_10_destination_filter_names_itself_and_its_page() -> None:
    smtp = policy(
        "no-mail-relay", hosts={"child": ["mail.test"]}, ports=[25, 587], policy_type="destination_filter",
        block_page_url="https://portal.test/blocked?lang=en#top", reason="Use the relay",
    )  # fmt: skip
    access = compiled(smtp)
    decision = access.decide(facts("out.mail.test", 587))
    assert brief(decision) == ("redirect", "tenant_destination_filter", "tenant")
    assert (decision.reason, decision.message) == (Reason.POLICY_BLOCKED, "Use the relay")
    assert decision.redirect_url == "https://portal.test/blocked?lang=en&reason=policy_blocked&policy=no-mail-relay#top"
    assert decision.applied == ("no-mail-relay",)
    assert access.decide(facts("out.mail.test", 443)).allowed
    assert access.decide(facts("other.test", 587)).allowed


@pytest.mark.parametrize("level", ["tenant", "user", "site"])
def test_pol_10_name_says_the_level(level: str) -> None:
    decision = compiled(policy("d", hosts=EXAMPLE, policy_type="destination_filter", level=level)).decide(facts())
    assert (decision.rule, decision.action) == (f"{level}_destination_filter", Action.BLOCK)


@pytest.mark.parametrize("action", ["block", "redirect"])
def test_pol_06_the_portal_itself_is_not_redirected_in_circles(action: str) -> None:
    url = "https://portal.test:8443/x"
    extra = {"block_page_url": url} if action == "block" else {"redirect_url": url}
    access = compiled(policy("all", action, **extra))
    assert access.decide(facts()).action is Action.REDIRECT
    assert access.decide(facts("portal.test", 8443)).action is Action.BLOCK
    assert access.decide(facts("portal.test", 443)).action is Action.REDIRECT


@pytest.mark.security
@pytest.mark.parametrize(
    "url",
    [
        "https://portal.test/\r\nSet-Cookie: a=b",
        "https://portal.test/ x",
        "https://user@portal.test/",
        "https://good.test\\@evil.test/",
        "https:///path",
        "https://0x7f.1/",
        "https://portal.test:99999/",
        "https://p\u00f6rtal.test/",
        "javascript:alert(1)",
        "//portal.test/",
    ],
)
@pytest.mark.parametrize("field", ["redirect_url", "block_page_url"])
def test_pol_06_unsafe_urls_are_refused_when_compiled(url: str, field: str) -> None:
    broken = Policy.model_construct(
        **{
            **policy("away").__dict__,
            "config": policy("away").config.model_copy(
                update={field: url, "action": "redirect" if field == "redirect_url" else "block"}
            ),
        }
    )
    with pytest.raises(ConfigError, match=r"tenant\[a\]\.policies\[away\]"):
        AccessPolicy.compile([tenant().model_copy(update={"policies": [broken]})], [])


@pytest.mark.security
def test_pol_06_nothing_of_the_request_is_in_the_location() -> None:
    access = compiled(policy("away", "redirect", redirect_url="https://portal.test/"))
    locations = {
        access.decide(facts(host, path=path, host_header="h.test", sni="s.test")).redirect_url
        for host, path in itertools.product(["a.test", "b.test"], ["/?next=https://evil.test", "/\r\nX: y"])
    }
    assert locations == {"https://portal.test/?reason=policy_redirected&policy=away"}


def test_pol_11_site_rules_are_found_by_tenant_and_host() -> None:
    rules = [
        policy("exact", hosts={"exact": ["One.Test."]}, policy_type="site"),
        policy("below", hosts={"child": ["two.test"]}, policy_type="site"),
        policy("port", hosts={"exact": ["three.test"]}, ports=[8443], policy_type="site", level="tenant"),
        policy("pattern", hosts={"regex": ["four[0-9]\\.test"]}, level="site"),
        policy("network", hosts={"networks": ["198.51.100.0/24"]}, level="site"),
    ]
    access = compiled(*rules)
    expected = {
        ("one.test", 443): "exact", ("one.test", 80): "exact", ("x.one.test", 443): "", ("two.test", 443): "below",
        ("a.b.two.test", 443): "below", ("three.test", 8443): "port", ("three.test", 443): "", ("four4.test", 443): "pattern",
        ("198.51.100.7", 443): "network",
    }  # fmt: skip
    decisions = {key: access.decide(facts(*key)) for key in expected}
    assert {key: decision.rule for key, decision in decisions.items()} == expected
    assert {decision.level for decision in decisions.values() if decision.rule} == {"site"}


def test_pol_11_site_rules_keep_their_order_across_keys() -> None:
    access = compiled(
        policy("wide", hosts={"child": ["site.test"]}, policy_type="site", priority=2),
        policy("narrow", "allow", hosts={"exact": ["ok.site.test"]}, policy_type="site", priority=1),
        policy("first", hosts={"regex": [".*bad.*"]}, policy_type="site", priority=0),
    )
    assert access.decide(facts("ok.site.test")).applied == ("narrow",)
    assert access.decide(facts("x.site.test")).rule == "wide"
    assert access.decide(facts("bad.site.test")).rule == "first"
    wide_first = compiled(
        policy("wide", hosts={"child": ["site.test"]}, policy_type="site", priority=1),
        policy("narrow", "allow", hosts={"exact": ["ok.site.test"]}, policy_type="site", priority=2),
    )
    assert wide_first.decide(facts("ok.site.test")).rule == "wide"


@pytest.mark.security
def test_pol_11_ten_12_rules_of_one_tenant_do_not_touch_another() -> None:
    access = AccessPolicy.compile(
        [tenant(policy("no", hosts=EXAMPLE), policy("site", hosts=GAMES, policy_type="site")), tenant(tenant_id="b")], []
    )
    assert access.decide(facts()).rule == "no"
    assert access.decide(facts("games.test")).rule == "site"
    assert access.decide(facts(tenant_id="b")).allowed
    assert access.decide(facts("games.test", tenant_id="b")).allowed


def test_suspended_and_unknown_tenants_are_refused() -> None:
    suspended = compiled(policy("yes", "allow"), status="suspended").decide(facts())
    assert (suspended.action, suspended.reason, suspended.rule) == (Action.BLOCK, Reason.TENANT_SUSPENDED, "tenant_status")
    unknown = compiled().decide(facts(tenant_id="nobody"))
    assert (unknown.action, unknown.reason) == (Action.BLOCK, Reason.NO_TENANT)


def test_a_group_that_does_not_exist_is_an_error_not_a_silent_rule() -> None:
    with pytest.raises(ConfigError, match="guets") as caught:
        compiled(policy("typo", groups=["guets"]), policy("typo2", groups=["stuff"]))
    assert len(caught.value.problems) == 2


# -- explain and memory say the same as deciding anew --


def test_pol_01_explain_shows_every_level_and_why_rules_were_skipped() -> None:
    access = compiled(
        policy("no-games", hosts=GAMES), policy("office", "allow", ports=[443], level="user"),
        policy("site", hosts=EXAMPLE, policy_type="site"),
    )  # fmt: skip
    steps = access.explain(facts())
    assert [(step.level, step.policy, step.skipped) for step in steps] == [
        ("tenant", "no-games", "hosts"), ("user", "office", ""), ("site", "site", ""),
    ]  # fmt: skip
    assert steps[-1].decision is not None
    assert not steps[-1].decision.allowed
    assert compiled().explain(facts(tenant_id="nobody"))[0].decision is not None


HOSTS = ["a.test", "b.a.test", "games.test", "x.games.test", "192.0.2.1"]
POLICIES = st.builds(
    policy,
    st.from_regex(r"[a-z]{1,4}", fullmatch=True),
    st.sampled_from(["allow", "block", "require_auth"]),
    st.fixed_dictionaries(
        {}, optional={"exact": st.lists(st.sampled_from(HOSTS)), "child": st.lists(st.sampled_from(HOSTS[:4]))}
    ),
    level=st.sampled_from(["tenant", "user", "site"]),
    priority=st.integers(1, 3),
    enabled=st.booleans(),
    ports=st.lists(st.sampled_from([80, 443]), max_size=1),
    methods=st.lists(st.sampled_from(["GET", "POST"]), max_size=1),
    path_regex=st.lists(st.sampled_from(["^/x", "y$"]), max_size=1),
)
FACTS = st.builds(
    facts,
    st.sampled_from(HOSTS),
    st.sampled_from([80, 443]),
    method=st.sampled_from(["", "GET", "POST"]),
    path=st.sampled_from(["", "/x", "/y"]),
    sni=st.sampled_from(["", *HOSTS]),
    user=st.sampled_from([None, ALICE, UserFacts("bob", "guests", frozenset({80}), frozenset({".a.test"}))]),
)


@given(st.lists(POLICIES, max_size=6), st.lists(FACTS, min_size=1, max_size=8))
def test_memory_and_explain_agree_with_deciding_anew(policies: list[Policy], asked: list) -> None:
    access = compiled(*policies)
    for question in [*asked, *asked]:
        fresh = compiled(*policies).decide(question)
        assert access.decide(question) == fresh
        said = [step for step in access.explain(question) if step.decision is not None]
        denied = [step.decision for step in said if step.decision is not None and not step.decision.allowed]
        assert bool(denied) == (not fresh.allowed)
        if denied:
            assert (denied[0].rule, denied[0].level) == (fresh.rule, fresh.level)


@pytest.mark.security
@given(st.text(max_size=60))
def test_any_host_that_normalises_can_be_judged(text: str) -> None:
    try:
        host = normalise_host(text)
    except ValueError:
        return
    access = compiled(policy("all", hosts={"regex": [".*"]}))
    assert access.decide(facts(host)).rule == "all"
