"""What an audit event says about the interception; nothing an event holds may stop the stream."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appliance.learning.observe import acceptance, client_of, refusal
from appliance.learning.sink import LearningSink

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
_NAMES = (
    "conn_id", "tenant_id", "user_id", "source_ip", "destination_host", "decrypt", "tls_failure", "tls_failure_side",
    "client_hello", "client_tls", "server_tls", "created_at", "kind", "conn_requests", "user_agent",
)  # fmt: skip
_WORDS = st.sampled_from(
    ["intercept", "pinned", "mtls", "client", "server", "request", "a", "10.0.0.1", {"ja4": "x", "sni": "a"}]
)
_EVENTS = st.dictionaries(st.sampled_from(_NAMES), _WORDS | _JSON)


@given(_EVENTS)
def test_any_event_is_taken(event: dict[str, Any]) -> None:
    found, seen = refusal(event), acceptance(event)
    assert found is None or (found.key.tenant and found.key.host and found.client)
    assert seen is None or (seen.tenant and seen.client and seen.fingerprint)


@given(st.lists(st.binary(max_size=60) | _JSON.map(lambda value: json.dumps(value).encode() + b'"tls_failure":'), max_size=5))
def test_any_line_is_taken(lines: list[bytes]) -> None:
    seen: list[Any] = []
    written = LearningSink(seen.extend).write(lines)
    assert written.rejected == 0
    assert all(isinstance(event, dict) for event in seen)


def test_lines_that_say_nothing_are_not_parsed() -> None:
    seen: list[Any] = []
    lines = [{"conn_requests": 1}, {"conn_requests": 12}, {"tls_failure": "pinned", "conn_requests": 7}, {}]
    LearningSink(seen.extend).write([json.dumps(line, separators=(",", ":")).encode()[:-1] + b',"x":0}' for line in lines[:3]])
    assert [event["conn_requests"] for event in seen] == [1, 7]


def test_who_a_client_is() -> None:
    assert client_of({"source_ip": "10.0.0.7"}) == "10.0.0.7"
    assert client_of({"source_ip": "2001:db8::1:2:3:4"}) == client_of({"source_ip": "2001:db8::9"}) == "2001:db8::/64"
    assert client_of({"source_ip": "10.0.0.7", "user_id": "alice"}) == "user:alice"
    assert client_of({"source_ip": "what"}) == ""
