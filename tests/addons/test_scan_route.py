"""Which service a flow goes to: rules against real heads (C6)."""

from collections.abc import Mapping
from typing import Any

import pytest

from addons.adapt import Adapt
from addons.scan_route import choose, service_of
from addons.scanning import Scanning
from appliance.config.auditor import Auditor
from appliance.policy.scan_rules import Direction, ScanRules
from icap.client import Chain, FailPolicy, Service
from tests.addons.flows import A, answered, flow, page, task
from tests.icap.client.fakes import BLOCKED, Fake, answer, failing

RULES = [
    {"name": "pictures", "use": "none", "direction": "response", "content_types": ["image/*"]},
    {"name": "large", "use": "none", "direction": "response", "larger_than": 100},
    {"name": "posts", "use": "dlp", "methods": ["POST"], "hosts": [".example.test"]},
    {"name": "rest", "use": "av"},
]


def scanning(**services: Any) -> Scanning:
    auditor = Auditor.model_validate({"name": "a", "icap_rules": RULES})
    directions: list[Direction] = ["request", "response"]
    known: Mapping[tuple[str, Direction], Service] = {(name, each): it for name, it in services.items() for each in directions}
    return Scanning(auditor, ScanRules.compile(auditor, {}), known)


@pytest.mark.parametrize(
    ("method", "url", "headers", "use"),
    [
        ("GET", "http://example.test/", {}, "av"),
        ("POST", "http://www.example.test/", {}, "dlp"),
        ("POST", "http://WWW.Example.Test:8080/", {}, "dlp"),
        ("POST", "http://other.test/", {"Content-Type": "image/png"}, "av"),
    ],
)
def test_c6_requests(method: str, url: str, headers: dict[str, str], use: str) -> None:
    made = flow(method, url, headers)
    assert choose(made, scanning(), "request").use == use


@pytest.mark.parametrize(
    ("status", "headers", "why"),
    [
        (200, {"Content-Type": "Image/PNG; x=1"}, "rule pictures"),
        (200, {"Content-Type": "text/html", "Content-Length": "101"}, "rule large"),
        (200, {"Content-Type": "text/html", "Content-Length": "100"}, "rule rest"),
        (200, {"Transfer-Encoding": "chunked"}, "rule rest"),
        (200, {"Content-Length": "\u0661\u0662\u0663"}, "rule rest"),
        (304, {"Content-Length": "101"}, "rule rest"),
    ],
)
def test_c6_responses(status: int, headers: dict[str, str], why: str) -> None:
    made = flow()
    answered(made, status)
    assert made.response is not None
    made.response.headers.clear()
    made.response.headers.update(headers)
    assert choose(made, scanning(), "response").why == why


def test_c6_the_route_is_the_one_that_the_head_had() -> None:
    """The head may be another by the time the body is here; what was held for one service must not go to none."""
    made = flow()
    answered(made, 200, b"x", {"Content-Type": "text/html"})
    av = Fake(answer("av"))
    routes = scanning(av=av)
    choose(made, routes, "response")
    assert made.response is not None
    made.response.headers["content-type"] = "image/png"
    assert service_of(made, routes, "response") is av


async def test_c6_none_is_recorded_as_not_scanned_with_the_rule_s_name() -> None:
    never = Fake(answer("never", BLOCKED))
    adapt = Adapt({A: scanning(av=Fake(answer("av", method="REQMOD")), dlp=never)}, page, lambda _: None)
    made = flow()
    notes = task(made)
    adapt.requestheaders(made)
    answered(made, 200, b"x", {"Content-Type": "image/gif"})
    adapt.responseheaders(made)
    assert adapt.response(made) is None
    assert notes.not_scanned == ["response: rule pictures"]
    assert never.shown == []


async def test_c6_each_service_s_verdict_is_in_the_record() -> None:
    chain = Chain([FailPolicy(Fake(failing("dlp")), on_error="bypass"), Fake(answer("av"))])
    counted: list[Any] = []
    adapt = Adapt({A: scanning(av=chain)}, page, counted.append)
    made = flow()
    notes = task(made)
    answered(made, 200, b"x", {"Content-Type": "text/html"})
    adapt.responseheaders(made)
    pending = adapt.response(made)
    assert pending is not None
    await pending
    assert [(each.service, each.outcome.value) for each in notes.scans] == [("dlp", "bypassed"), ("av", "clean")]
    assert notes.not_scanned == ["response: scan_failed"]
    assert counted == notes.scans
