"""D6: which bodies of an audit event were delivered, and what a scanner called malware."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.retro import Limit, Verdict
from appliance.retro.observe import deliveries, finding

SHA, OTHER = "a" * 64, "b" * 64


def scan(**more: Any) -> dict[str, Any]:
    return {
        "service": "icap://s", "method": "RESPMOD", "outcome": "clean", "engine": "ClamAV 1/2", "istag": "tag", "size": 7,
        "sha256": SHA,
    } | more  # fmt: skip


def event(*scans: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "task", "tenant_id": "acme", "user_id": "ann", "kind": "request", "source_ip": "10.0.0.1", "status": 200,
        "destination_host": "a.test", "url": "https://a.test/x", "action": "allow", "created_at": 100.0, "reason": "ok",
        "scans": list(scans),
    } | more  # fmt: skip


def test_a_body_that_passed() -> None:
    [found] = deliveries(event(scan(cached=True, age_s=30.0), samples={"response": "c" * 32}))
    assert (found.tenant, found.sha256, found.size, found.task, found.side) == ("acme", SHA, 7, "task", "response")
    assert (found.user, found.client, found.host, found.url) == ("ann", "10.0.0.1", "a.test", "https://a.test/x")
    assert (found.verdict, found.engine, found.istag, found.at, found.judged_at) == (
        Verdict.CLEAN, "ClamAV 1/2", "tag", 100.0, 70.0,
    )  # fmt: skip
    assert (found.limits, found.sample) == ((), "c" * 32)


@pytest.mark.parametrize(
    "more",
    [
        {"action": "block", "status": 403}, {"action": "fail"}, {"status": 0}, {"kind": "websocket"}, {"kind": "retro"},
        {"tenant_id": ""}, {"scans": None}, {"scans": [scan(outcome="error")]}, {"scans": [scan(outcome="blocked")]},
        {"scans": [scan(sha256="")]}, {"scans": [scan(sha256="A" * 64)]}, {"scans": [scan(method="PUT")]},
        {"scans": [scan(of="message")]}, {"scans": [7]},
    ],
)  # fmt: skip
def test_what_was_not_delivered_or_has_no_hash(more: dict[str, Any]) -> None:
    assert list(deliveries(event(scan()) | more)) == []


def test_an_upload_reached_the_server_although_its_answer_was_stopped() -> None:
    blocked = scan(outcome="blocked", reason="malware_found", signature="Evil", sha256=OTHER)
    made = event(
        scan(method="REQMOD"), blocked, action="block", status=403, upstream_status=200, reason="malware_found"
    )  # fmt: skip
    assert [(each.side, each.sha256) for each in deliveries(made)] == [("request", SHA)]
    bad = finding(made)
    assert bad is not None
    assert (bad.tenant, bad.sha256, bad.signature, bad.by, bad.at) == (
        "acme",
        OTHER,
        "Evil",
        "icap://s",
        100.0,
    )


def test_of_a_chain_the_last_service_counts() -> None:
    made = event(scan(outcome="modified"), scan(sha256=OTHER))
    assert [(each.sha256, each.limits) for each in deliveries(made)] == [(OTHER, ())]
    made = event(scan(), scan(sha256=OTHER, outcome="modified"))
    assert [(each.sha256, each.limits) for each in deliveries(made)] == [(OTHER, (Limit.MODIFIED,))]


def test_what_a_hash_or_a_verdict_does_not_say_is_noted() -> None:
    noted = ["response: head_only", "response: encrypted archive", "request: part", "websocket"]
    made = event(scan(outcome="bypassed"), not_scanned=noted, packed=["response"])
    [found] = deliveries(made)
    assert (set(found.limits), found.verdict) == ({Limit.HEAD_ONLY, Limit.ENCRYPTED, Limit.PACKED}, Verdict.UNSCANNED)


def test_a_policy_that_refuses_is_no_finding() -> None:
    assert finding(event(scan(outcome="blocked", reason="file_type_blocked"), reason="file_type_blocked")) is None
    assert finding(event(scan())) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(SHA),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(event(scan()))), _JSON, st.sampled_from(sorted(scan())), _JSON)
def test_any_event_is_borne(name: str, value: Any, part: str, inner: Any) -> None:
    made = event(scan(**{part: inner})) | {name: value, "samples": inner, "packed": value, "not_scanned": inner}
    for each in deliveries(made):
        assert len(each.sha256) == 64
        assert len(each.task) <= 26
        assert each.size >= 0
        each.url.encode()
    finding(made | {"reason": "malware_found"})
