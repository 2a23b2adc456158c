"""What audit events say of clients and CAs; D8."""

import json
from typing import Any

import pytest

from appliance.audit.sinks.encounters import EncounterSink, encounter
from appliance.domain.readiness import Encounter

CA, OTHER = "a" * 64, "b" * 64
CAS = frozenset({CA})


def event(**changes: Any) -> dict[str, Any]:
    core = {
        "id": "1",
        "tenant_id": "t",
        "source_ip": "10.0.0.1",
        "created_at": 5.0,
        "event_type": "request",
        "user_id": "alice",
    }
    return core | {"user_agent": "x" * 500, "client_tls": {"ca_sha256": CA}} | changes


REFUSAL = {"event_type": "connection", "tls_failure": "client_reject", "tls_failure_side": "client"}


def test_a_request_inside_tls_is_trust_and_a_refusal_is_not() -> None:
    assert encounter(event(), CAS) == Encounter("t", "10.0.0.1", CA, 5.0, 0.0, "alice", "x" * 200)
    refused = encounter(event(**REFUSAL, client_tls={"ca_sha256": CA, "error": "unknown ca"}), CAS)
    assert refused is not None
    assert (refused.accepted, refused.refused) == (0.0, 5.0)
    unknown = {"ca_sha256": CA, "error": "unknown ca", "alert": "unknown_ca"}
    assert encounter(event(**REFUSAL | {"tls_failure": "pinned"}, client_tls=unknown), CAS) == refused


@pytest.mark.parametrize(
    "silent",
    [
        event(client_tls={"ca_sha256": OTHER}),
        event(client_tls={"ca_sha256": CA, "resumed": True}),
        event(client_tls=None),
        event(client_tls="x"),
        event(event_type="connection"),
        event(client_tls={"ca_sha256": CA, "error": "handshake failed"}),
        event(**REFUSAL | {"tls_failure": "pinned"}, client_tls={"ca_sha256": CA, "error": "bad certificate"}),
        event(**REFUSAL | {"tls_failure_side": "server"}, client_tls={"ca_sha256": CA, "error": "x"}),
    ],
)
def test_what_proves_nothing(silent: dict[str, Any]) -> None:
    assert encounter(silent, CAS) is None


def test_a_batch_is_kept_once_for_each_client() -> None:
    kept: list[Encounter] = []
    sink = EncounterSink(CAS, kept.extend)
    events = [event(created_at=float(at)) for at in range(5)] + [event(source_ip="10.0.0.2")]
    lines = [json.dumps(each).encode() for each in events] + [b"nonsense", b"{}", CA.encode()]
    sink.write(lines)
    assert [(each.ip, each.accepted) for each in kept] == [("10.0.0.1", 4.0), ("10.0.0.2", 5.0)]
