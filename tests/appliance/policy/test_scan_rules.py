"""Rules about scanning: the first that matches, and what is not known (C6)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.auditor import Auditor
from appliance.domain.hostmatch import domain_matcher
from appliance.policy.scan_rules import Direction, MessageFacts, ScanRules

LISTS = {"banks": domain_matcher([".bank.test"])}


def rules(*given: dict[str, Any], **auditor: Any) -> ScanRules:
    return ScanRules.compile(Auditor.model_validate({"name": "a", "icap_rules": list(given), **auditor}), LISTS)


def choose(compiled: ScanRules, direction: Direction = "response", **facts: Any) -> tuple[str, str]:
    route = compiled.choose(direction, lambda: MessageFacts(**({"method": "GET", "host": "www.a.test"} | facts)))
    return route.use, route.why


@pytest.mark.parametrize(
    ("condition", "facts", "matches"),
    [
        ({"methods": ["POST", "PUT"]}, {"method": "PUT"}, True),
        ({"methods": ["POST", "PUT"]}, {"method": "GET"}, False),
        ({"hosts": [".a.test"]}, {}, True),
        ({"hosts": ["a.test"]}, {}, False),
        ({"host_lists": ["banks"]}, {"host": "x.bank.test"}, True),
        ({"host_lists": ["banks"], "hosts": ["www.a.test"]}, {}, True),
        ({"host_lists": ["banks"]}, {"host": ""}, False),
        ({"content_types": ["image/*"]}, {"content_type": "image/png"}, True),
        ({"content_types": ["image/*"]}, {"content_type": "imagex/png"}, False),
        ({"content_types": ["Text/HTML"]}, {"content_type": "text/html"}, True),
        ({"content_types": ["text/html"]}, {"content_type": ""}, False),
        ({"larger_than": "1K"}, {"length": 1025}, True),
        ({"larger_than": "1K"}, {"length": 1024}, False),
        ({"smaller_than": "1K"}, {"length": 1023}, True),
        ({"smaller_than": "1K"}, {"length": 1024}, False),
        ({"methods": ["GET"], "hosts": ["other.test"]}, {}, False),
        ({"direction": "request"}, {}, False),
        ({"direction": "response"}, {}, True),
    ],
)
def test_c6_conditions(condition: dict[str, Any], facts: dict[str, Any], matches: bool) -> None:
    compiled = rules({"name": "one", "use": "av", **condition}, {"name": "rest", "use": "none"})
    assert choose(compiled, **facts) == (("av", "rule one") if matches else ("", "rule rest"))


@pytest.mark.parametrize("key", ["larger_than", "smaller_than"])
def test_c6_a_length_that_is_not_stated_never_lets_a_message_past_a_scan(key: str) -> None:
    """Otherwise ``Transfer-Encoding: chunked`` would be the way around a rule that leaves out what is large."""
    compiled = rules(
        {"name": "out", "use": "none", key: "1M"}, {"name": "in", "use": "av", key: "1M"}, {"name": "r", "use": "x"}
    )
    assert choose(compiled, length=None) == ("av", "rule in")


def test_c6_what_no_rule_matches_goes_to_the_short_form() -> None:
    compiled = rules({"name": "one", "use": "av", "hosts": ["b.test"]}, icap_respmod_service="icap://s/x")
    assert choose(compiled) == ("icap://s/x", "auditor")
    assert choose(compiled, "request") == ("", "no_service")
    assert (compiled.uses("response"), compiled.uses("request")) == ({"av", "icap://s/x"}, {"av"})
    assert compiled.may_scan("request")


def test_c6_without_rules_nothing_is_looked_at() -> None:
    compiled = rules(icap_reqmod_service="icap://s/x")
    assert compiled.choose("request", lambda: pytest.fail("nobody needs this")).use == "icap://s/x"
    assert not compiled.may_scan("response")


def test_c6_the_rule_is_named_when_it_lets_pass() -> None:
    route = rules({"name": "images", "use": "none"}).choose("response", lambda: MessageFacts("GET", "a"))
    assert (route.use, route.not_scanned) == ("", "rule images")


CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "methods": st.lists(st.sampled_from(["GET", "POST"]), min_size=1, max_size=2),
        "hosts": st.lists(st.sampled_from(["a.test", ".a.test", "b.test"]), min_size=1, max_size=2),
        "content_types": st.lists(st.sampled_from(["text/*", "text/html"]), min_size=1, max_size=2),
        "larger_than": st.integers(0, 3),
        "direction": st.sampled_from(["request", "response"]),
    },
)


@given(st.lists(st.tuples(CONDITIONS, st.sampled_from(["av", "none"])), max_size=5), st.data())
def test_c6_with_a_last_rule_every_message_has_an_answer(
    conditions: list[tuple[dict[str, Any], str]], data: st.DataObject
) -> None:
    made = [{"name": str(number), "use": use, **each} for number, (each, use) in enumerate(conditions)]
    compiled = rules(*made, {"name": "rest", "use": "last"})
    direction: Direction = data.draw(st.sampled_from(["request", "response"]))  # type: ignore[assignment]
    facts = MessageFacts(
        data.draw(st.sampled_from(["GET", "POST", "X"])),
        data.draw(st.sampled_from(["a.test", "x.a.test", ""])),
        data.draw(st.sampled_from(["text/html", "text/plain", ""])),
        data.draw(st.sampled_from([None, 0, 1, 3, 4])),
    )
    assert compiled.choose(direction, lambda: facts).why != "no_service"
