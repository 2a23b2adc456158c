"""ICAP services, sets, chains and rules in the configuration (C6): what is refused, and where it is said to stand."""

import pytest
from pydantic import ValidationError

from appliance.config.icap_graph import leaves
from appliance.config.icap_rule import IcapRule
from appliance.config.icap_service import IcapService
from appliance.config.load import Loaded
from appliance.domain.errors import ConfigError
from tests.appliance.config.base import changed, loads

SERVICES = """\
icap_service:
  - {name: av, uri: "icap://127.0.0.1:1344/av"}
  - {name: upload, uri: "icap://127.0.0.1:1344/up", methods: [REQMOD]}
  - {name: page, uri: "icap://127.0.0.1:1344/page", methods: [RESPMOD]}
icap_set:
  - {name: pool, services: [av, page], strategy: round_robin}
icap_chain:
  - {name: all, links: [upload, pool, page]}
auditor:
"""
ALL = "    icap_rules:\n      - {name: rest, use: all}\n    icap_timeout: 30s"


def config(rules: str = ALL, services: str = SERVICES) -> Loaded:
    return loads(changed(("auditor:\n", services), ("    icap_timeout: 30s", rules)))


def problems(rules: str = ALL, services: str = SERVICES) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(rules, services)
    return [str(problem) for problem in caught.value.problems]


def rule(text: str) -> str:
    return f"    icap_rules:\n      - {{name: one, {text}}}\n      - {{name: rest, use: none}}"


def test_c6_services_sets_chains_and_rules() -> None:
    loaded = config()
    assert [warning.message for warning in loaded.warnings if "icap" in warning.path] == []
    assert list(leaves(loaded.config, "all", "REQMOD")) == ["upload", "av"]
    assert list(leaves(loaded.config, "all", "RESPMOD")) == ["av", "page", "page"]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        (
            "services: [av, page]",
            "services: [av, pge]",
            "icap_set[pool].services[1]",
            "no ICAP service is named 'pge'",
        ),
        ("services: [av, page]", "services: [av, all]", "icap_set[pool].services[1]", "no ICAP service is named 'all'"),
        ("services: [av, page]", "services: [av, av]", "icap_set[pool].services[1]", "'av' is in this set twice"),
        ("services: [av, page]", "services: []", "icap_set[pool].services", "at least 1 item"),
        ("links: [upload, pool", "links: [upload, poll", "icap_chain[all].links[1]", "no ICAP service, set or chain is named"),
        ("links: [upload, pool", "links: [upload, all", "icap_chain[all]", "chains go round in circles: all -> all"),
        ("name: pool,", "name: av,", "icap_set[av].name", "'av' is the name of a service already"),
        ("name: upload", "name: av", "icap_service[av].name", "'av' is defined twice: first at line"),
        ("name: upload", "name: none", "icap_service[none].name", "'none' stands for no service in rules"),
        ("methods: [REQMOD]", "methods: []", "icap_service[upload].methods", "at least 1 item"),
        ("methods: [REQMOD]", "methods: [OPTIONS]", "icap_service[upload].methods[0]", "unknown value 'OPTIONS'"),
        ("methods: [REQMOD]", "tls_ca: ca.pem", "icap_service[upload]", "tls_ca is for icaps: URIs"),
        ("methods: [REQMOD]", "tls_certificate: c.pem", "icap_service[upload]", "tls_certificate is for icaps: URIs"),
        ("methods: [REQMOD]", "health: {interval: 0}", "icap_service[upload].health.interval", "greater than or equal to 0.1"),
        ("methods: [REQMOD]", "repeats: 4", "icap_service[upload].repeats", "less than or equal to 3"),
        ("methods: [REQMOD]", "on_overload: force", "icap_service[upload].on_overload", "one of wait, block, bypass"),
    ],
)
def test_c6_each_mistake_is_told_with_its_place(old: str, new: str, line: str, words: str) -> None:
    assert old in SERVICES
    found = problems(services=SERVICES.replace(old, new, 1))
    assert any(f": {line}: " in each and words in each and each.startswith("x.yaml:") for each in found), found


def test_an_icap_clients_certificate_needs_its_key() -> None:
    """Both are looked into, so that a service is not refused by a file that was never there."""
    tls = SERVICES.replace("icap://", "icaps://", 1)
    given = tls.replace("name: ", "tls_certificate: none.pem, name: ", 1)
    assert any("tls_certificate is given without tls_private_key" in each for each in problems(services=given)), problems(
        services=given
    )
    both = tls.replace("name: ", "tls_certificate: none.pem, tls_private_key: none.pem, name: ", 1)
    found = problems(services=both)
    assert any("tls_certificate: " in each and "cannot be read" in each for each in found), found


def test_c6_a_circle_through_several_chains() -> None:
    more = "  - {name: b, links: [all]}\nauditor:"
    services = SERVICES.replace("links: [upload, pool", "links: [b, pool").replace("auditor:", more)
    assert any("chains go round in circles: all -> b -> all" in each for each in problems(services=services))


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("use: al", "icap_rules[one].use", "no ICAP service, set or chain is named 'al'; did you mean 'all'?"),
        ("use: av, host_lists: [nolist]", "icap_rules[one].host_lists[0]", "no host list is named 'nolist'"),
        ("use: page", "icap_rules[one].use", "'page' does no REQMOD, which requests need; if that is meant, add"),
        ("use: upload, direction: response", "icap_rules[one].use", "'upload' does no RESPMOD, which responses need"),
        ("use: av, methods: [get]", "icap_rules[one].methods[0]", "not an HTTP method: 'get'"),
        ("use: av, content_types: [html]", "icap_rules[one].content_types[0]", "not a content type: 'html'"),
        ("use: av, larger_than: 1M, smaller_than: 1K", "icap_rules[one]", "no size is larger_than and smaller_than at once"),
        ("use: av, hosts: [\"a b\"]", "icap_rules[one].hosts[0]", "a b"),
        ("use: av, tenant: x", "icap_rules[one].tenant", "unknown key 'tenant'"),
    ],
)  # fmt: skip
def test_c6_each_mistake_in_a_rule_is_told(text: str, place: str, words: str) -> None:
    found = problems(rule(text))
    assert any(f": auditor[inspect].{place}: " in each and words in each for each in found), found


def test_c6_two_rules_of_one_name() -> None:
    assert any("'rest' is defined twice" in each for each in problems(rule("use: av").replace("one", "rest")))


def test_c6_what_no_rule_matches_needs_a_word() -> None:
    """Fail closed: without a last rule, messages would pass unscanned without anyone having said so."""
    rules = "    icap_rules:\n      - {name: one, use: av, hosts: [a.test]}"
    found = problems(rules)
    assert [each.partition("icap_rules: ")[2].partition(" that")[0] for each in found] == ["requests", "responses"]
    short = "\n    icap_reqmod_service: icap://s/x\n    icap_respmod_service: icap://s/x"
    assert config(rules + short).config.auditor[0].icap_rules[0].name == "one"
    one_way = "    icap_rules:\n      - {name: one, use: upload, direction: request}"
    assert [each for each in problems(one_way) if "requests that" in each] == []


def test_c6_a_rule_that_is_never_asked_and_a_service_that_nobody_uses() -> None:
    late = "    icap_rules:\n      - {name: rest, use: av}\n      - {name: late, use: upload, direction: request}"
    told = [str(warning) for warning in config(late).warnings]
    assert any("icap_rules[late]" in each and "never asked: rule 'rest' matches all requests" in each for each in told)
    assert any("icap_chain[all]: this chain is never asked" in each for each in told)


@pytest.mark.parametrize("key", ["larger_than", "smaller_than"])
def test_c6_sizes_are_written_as_everywhere(key: str) -> None:
    assert getattr(IcapRule.model_validate({"name": "a", "use": "b", key: "1K"}), key) == 1024


def test_c6_safe_defaults() -> None:
    """C16: an attacker chooses the extension in a URL."""
    service = IcapService(name="a", uri="icap://h/s")
    assert (service.on_error, service.on_overload, service.honour_transfer_ignore) == ("block", "wait", False)
    assert service.health is not None
    with pytest.raises(ValidationError):
        IcapService.model_validate({"name": "a", "uri": "icap://h/s", "bypass": True})
