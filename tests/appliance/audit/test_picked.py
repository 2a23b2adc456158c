"""The quick parser and Python's say the same of every line."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.picked import Picker, parse
from appliance.audit.record import to_event
from appliance.audit.sinks.store import STORED, parse_event
from appliance.learning.observe import SEEN, acceptance, refusal
from appliance.retro.observe import SEEN as HUNTED
from appliance.retro.observe import deliveries, finding
from tests.appliance.audit.samples import full_task
from tests.appliance.audit.test_record import MASKER

NAMES = ("id", "size", "tls.version", "tls.alert")
PICKER = Picker(NAMES)
ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=4)
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, "tls", "version", "alert", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.sampled_from(["id", "size", "tls", "other", "version"]), VALUES)


def only(event: dict[str, Any]) -> dict[str, Any]:
    """What was asked for. An odd event comes whole."""
    found = {name: event[name] for name in ("id", "size", "tls") if name in event}
    if isinstance(tls := found.get("tls"), dict):
        found["tls"] = {name: tls[name] for name in ("version", "alert") if name in tls}
    return found


def same(first: object, second: object) -> bool:
    return repr(first) == repr(second)  # NaN is no equal of itself, and 1 is one of True


@given(OBJECTS, st.booleans())
def test_any_event_is_what_json_makes_of_it(event: dict[str, Any], ascii_only: bool) -> None:
    line = json.dumps(event, ensure_ascii=ascii_only).encode("utf-8", "replace")
    picked, parsed = PICKER.pick(line), parse(line)
    assert picked is not None
    assert parsed is not None
    assert same(dict(sorted(only(picked).items())), dict(sorted(only(parsed).items())))


MUTATIONS = st.lists(st.tuples(st.integers(0, 200), st.sampled_from(list(b'{}[]",:0123456789.-+eEntfu\\ \t\n\x00\x7f\xff'))))


@given(OBJECTS, MUTATIONS)
def test_any_damage_is_damage_to_both(event: dict[str, Any], mutations: list[tuple[int, int]]) -> None:
    line = bytearray(json.dumps(event).encode())
    for place, byte in mutations:
        line[place % len(line)] = byte
    picked, parsed = PICKER.pick(bytes(line)), parse(bytes(line))
    if parsed is None or picked is None:
        assert picked is parsed
    else:
        assert same(dict(sorted(only(picked).items())), dict(sorted(only(parsed).items())))


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[1]", b"7", b'"x"', b"null", b"{}x", b'{"id":1,}', b'{"id":01}', b'{"id":.5}', b'{"id":1.}', b'{"id":"\t"}',
     b'{"id":"\\q"}', b'{"id":-NaN}', b'{"id":+1}', b'{"other":tru}', b"{'id':1}", b'{"id":"\xff"}', b'{"x":"\\ud80"}'],
)  # fmt: skip
def test_what_is_no_json_object_is_nothing(line: bytes) -> None:
    assert PICKER.pick(line) is None


@pytest.mark.parametrize(
    ("line", "id_"),
    [(b'{"id":"a","id":"b"}', "b"), (b'{"id":"\\ud800"}', "\ud800"), (b'{"id":1e400}', float("inf")), (b'{"id":-0}', 0),
     (b'{"id":123456789012345678901234567890}', 123456789012345678901234567890), (b' {"id" : 1} ', 1)],
)  # fmt: skip
def test_odd_json_is_what_python_takes_it_for(line: bytes, id_: object) -> None:
    picked = PICKER.pick(line)
    assert picked is not None
    assert same(picked["id"], id_)


def test_what_nests_too_deep_for_one_is_left_to_the_other() -> None:
    deep = b'{"id":"a","x":' + b"[" * 900 + b"]" * 900 + b"}"
    assert (PICKER.pick(deep) or {})["id"] == "a"
    assert PICKER.pick(b'{"id":"a","x":' + b"[" * 500_000 + b"}") is None


@pytest.mark.parametrize("names", [STORED, SEEN])
def test_a_real_event_gives_all_that_is_asked_for(names: tuple[str, ...]) -> None:
    event = json.loads(json.dumps(to_event(full_task(), MASKER)))
    picked = Picker(names).pick(json.dumps(event).encode())
    assert picked is not None
    for name in names:
        head, _, rest = name.partition(".")
        assert (picked[head][rest] == event[head][rest]) if rest else (picked[head] == event[head])
    assert set(picked) == {name.partition(".")[0] for name in names}


def test_a_line_with_more_than_ascii_is_no_event() -> None:
    assert parse_event('{"id":"é"}'.encode()) is None
    assert parse_event(b'{"id":"\\u00e9"}') == ({"id": "é"}, '{"id":"\\u00e9"}')


CLEAN = {"method": "RESPMOD", "outcome": "clean", "sha256": "a" * 64}
INFECTED = CLEAN | {"outcome": "blocked", "reason": "malware_found"}
TLS = {"version": "TLSv1.3", "error": "", "alert": "unknown_ca", "cipher": "x"}
WHOLE = {
    "id": "i", "conn_id": "c", "tenant_id": "t", "user_id": "", "source_ip": "10.0.0.1", "destination_host": "a.test",
    "url": "u", "user_agent": "agent", "kind": "request", "action": "allow", "reason": "ok", "status": 200,
    "upstream_status": 200, "created_at": 5.0, "started_at": 2.0, "conn_requests": 1, "decrypt": "intercept",
    "client_hello": {"ja4": "j", "sni": "a.test", "ja3": "x"}, "client_tls": TLS, "server_tls": TLS, "scans": [CLEAN],
    "not_scanned": ["response: part"], "packed": ["response"], "samples": {"response": "b" * 32}, "steps": {"wait": 1.0},
}  # fmt: skip
PINNED = {"tls_failure": "pinned", "tls_failure_side": "client"}


@pytest.mark.parametrize("changes", [{}, PINNED, {"tls_failure": "mtls"}, {"reason": "malware_found", "scans": [INFECTED]}])
def test_who_reads_events_asks_for_all_that_it_looks_at(changes: dict[str, Any]) -> None:
    event: dict[str, Any] = WHOLE | changes
    line = json.dumps(event).encode()
    learned, hunted = Picker(SEEN).pick(line), Picker(HUNTED).pick(line)
    assert learned is not None
    assert hunted is not None
    assert (refusal(learned), acceptance(learned)) == (refusal(event), acceptance(event))
    assert (list(deliveries(hunted)), finding(hunted)) == (list(deliveries(event)), finding(event))
    assert refusal(event) or acceptance(event)
    assert list(deliveries(event)) or finding(event)
