"""Events of a worker as metrics."""

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.app.traffic import STEPS_EVERY, Traffic
from appliance.domain.decision import ALLOW, Action, Decision, TlsAction, TlsDecision
from appliance.domain.notes import EscapeNotes, TaskNotes
from appliance.domain.reason import Reason
from appliance.telemetry.metrics import Metrics
from tests.addons.flows import conn


class Counted:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.traffic = Traffic(self.metrics, {"explicit": "http_proxy"})

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        families = text_string_to_metric_families(self.metrics.exposition().decode())
        samples = [sample for family in families for sample in family.samples]
        return {tuple(sorted(sample.labels.values())): sample.value for sample in samples if sample.name == name}


@pytest.fixture
def counted() -> Counted:
    return Counted()


def notes(**fields: Any) -> TaskNotes:
    return TaskNotes(conn(), **{"started": 10.0, "ended": 10.5, "status": 200, **fields})


def test_a_task_counts_for_its_server_tenant_and_policy(counted: Counted) -> None:
    counted.traffic.task(notes(request_bytes=3, response_bytes=5, decision=ALLOW))
    assert counted.values("arcus_server_requests_total") == {("explicit", "http_proxy"): 1}
    assert counted.values("arcus_server_response_seconds_sum") == {("explicit",): 0.5}
    assert counted.values("arcus_tenant_requests_total") == {("a", "allow"): 1}
    assert counted.values("arcus_tenant_bytes_total") == {("a", "in"): 3, ("a", "out"): 5}
    assert counted.values("arcus_policy_decisions_total") == {("allow", "none"): 1}
    assert counted.values("arcus_server_errors_total") == {}


def test_met_04_a_block_is_counted_with_its_reason_and_a_failure_is_no_block(counted: Counted) -> None:
    counted.traffic.task(notes(reason=Reason.HOST_DENIED, decision=Decision(Action.BLOCK, Reason.HOST_DENIED, level="user")))
    counted.traffic.task(notes(reason=Reason.MALWARE_FOUND))
    counted.traffic.task(notes(reason=Reason.CONNECT_REFUSED))
    assert counted.values("arcus_tenant_blocked_total") == {("a", "host_denied"): 1, ("a", "malware_found"): 1}
    assert counted.values("arcus_tenant_requests_total") == {("a", "block"): 2, ("a", "fail"): 1}
    assert counted.values("arcus_policy_decisions_total") == {("block", "user"): 1}
    assert sum(counted.values("arcus_server_errors_total").values()) == 3


def test_what_was_not_scanned_is_counted_by_why(counted: Counted) -> None:
    counted.traffic.task(notes(not_scanned=["request: no_service", "response: too_large", "websocket"]))
    assert counted.values("arcus_icap_not_scanned_total") == {("no_service",): 1, ("too_large",): 1, ("websocket",): 1}


def test_d3_the_bytes_of_a_task_are_counted_by_what_became_of_them(counted: Counted) -> None:
    """D3: the sum over buckets is the tenant's bytes."""
    counted.traffic.task(
        notes(
            request_bytes=3,
            response_bytes=50,
            scanned_bytes={"response": 30},
            unscanned_bytes={"request: no_service": 3, "response: head_only": 20},
        )
    )
    found = counted.values("arcus_inspected_bytes_total")
    assert found == {
        tuple(sorted(("a", "request", "not_scanned", "no_service"))): 3,
        tuple(sorted(("a", "response", "scanned", ""))): 30,
        tuple(sorted(("a", "response", "not_scanned", "head_only"))): 20,
    }
    assert sum(found.values()) == sum(counted.values("arcus_tenant_bytes_total").values())


def test_steps_are_sampled(counted: Counted) -> None:
    for _ in range(2 * STEPS_EVERY):
        counted.traffic.task(notes(steps={"wait": 250.0}))
    assert counted.values("arcus_server_step_seconds_count") == {("wait",): 2}
    assert counted.values("arcus_server_step_seconds_sum") == {("wait",): 0.5}


def test_the_hot_path_stays_cheap(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look-up ends in one write into shared memory; a plain request through a scanner makes fewer than ten."""
    asked: list[str] = []
    real = counted.metrics.child
    monkeypatch.setattr(counted.metrics, "child", lambda *key: asked.append(key[0]) or real(*key))
    counted.traffic._tasks = 1
    counted.traffic.task(notes(request_bytes=3, response_bytes=5, decision=ALLOW, not_scanned=["request: x", "response: x"]))
    assert len(asked) < 10


def test_a_connection_counts_its_bytes_and_its_tls(counted: Counted) -> None:
    counted.traffic.connection(conn(bytes_in=10, bytes_out=20, tls_decision=TlsDecision(TlsAction.SPLICE)))
    counted.traffic.connection(conn(bytes_in=1))
    assert counted.values("arcus_server_bytes_total") == {("explicit", "in"): 11, ("explicit", "out"): 20}
    assert counted.values("arcus_tls_decisions_total") == {("splice",): 1}


def test_c27_what_rules_in_monitor_mode_would_have_done_is_counted(counted: Counted) -> None:
    counted.traffic.connection(conn(tls_decision=TlsDecision(TlsAction.SPLICE, would=("try: block", "a: b: intercept"))))
    counted.traffic.task(notes(decision=Decision(Action.ALLOW, would=("games: block",))))
    assert counted.values("arcus_monitored_total") == {
        tuple(sorted(labels)): 1
        for labels in (("decrypt", "try", "block"), ("decrypt", "a: b", "intercept"), ("access", "games", "block"))
    }


def test_handshakes_have_a_result_and_only_good_ones_a_time(counted: Counted) -> None:
    counted.traffic.handshake("client", Reason.OK, 0.25)
    counted.traffic.handshake("server", Reason.UPSTREAM_CERT_EXPIRED, 0.0)
    assert counted.values("arcus_tls_handshakes_total") == {("client", "ok"): 1, ("server", "upstream_cert_expired"): 1}
    assert counted.values("arcus_tls_handshake_seconds_sum") == {("client",): 0.25}


def test_a_connect_has_a_time_for_its_leaf(counted: Counted) -> None:
    counted.traffic.connected(EscapeNotes(path=("router", "out"), ms={"dns": 1.0, "connect": 500.0}))
    counted.traffic.connected(EscapeNotes(path=("denied",)))
    assert counted.values("arcus_escaper_connect_seconds_sum") == {("out",): 0.5}


@pytest.mark.parametrize(
    ("reason", "limit"),
    [
        (Reason.HEADER_TIMEOUT, True),
        (Reason.RESOURCE_EXHAUSTED, True),
        (Reason.UPSTREAM_TIMEOUT, True),
        (Reason.CLIENT_CLOSED, False),
        (Reason.HOST_DENIED, False),
        (Reason.SHUTTING_DOWN, False),
    ],
)
def test_limits_are_limits_and_no_decisions(counted: Counted, reason: Reason, limit: bool) -> None:
    counted.traffic.limit(reason)
    assert counted.values("arcus_limits_total") == ({(reason.word,): 1} if limit else {})
