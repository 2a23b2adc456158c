"""What is written is the plain JSON of the event, however much of it was kept from an earlier task."""

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.audit.errors import SpoolError
from appliance.audit.mask import Masker
from appliance.audit.record import task_parts, to_event
from appliance.audit.recorder import Recorder, compact_encoder
from appliance.audit.segment import read_chunk, segments
from appliance.audit.shared import SharedText
from appliance.audit.spool import Spool
from appliance.domain.decision import Action, Decision, TlsAction, TlsDecision
from appliance.domain.facts import ClientFacts, HelloFacts, UserFacts
from appliance.domain.notes import ConnNotes, EscapeNotes, TaskNotes, TlsNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.learning.sink import LearningSink
from tests.appliance.audit.samples import full_task, task

MEGABYTE = 1024 * 1024
MASKER = Masker(["token"])


def plain(notes: TaskNotes) -> Any:
    return json.loads(json.dumps(to_event(notes, MASKER), allow_nan=False))


def whole(shared: bytes) -> Any:
    return json.loads(b"{" + shared + b"}")


def written(shared: SharedText, notes: TaskNotes) -> Any:
    """Of the event, what comes from what is kept."""
    return {name: value for name, value in plain(notes).items() if name in whole(shared.json(notes))}


TEXT = st.sampled_from(["", "a", "é\r\n", "NaN", "\ud800", "x" * 600])
BOTH = st.booleans()
CONNECTIONS: dict[str, st.SearchStrategy[Any]] = {
    "protocol": TEXT,
    "tenant_method": TEXT,
    "tenant_detail": TEXT,
    "original_dst": TEXT,
    "user": st.none() | st.builds(UserFacts, TEXT, TEXT),
    "tunnel": st.none() | st.sampled_from([Target("a.test", 443), Target("::1", 1)]),
    "client": st.builds(ClientFacts, TEXT, st.integers(0, 9), TEXT, TEXT, st.integers(0, 2)),
    "tunnel_decision": st.none() | st.builds(Decision, st.sampled_from(Action), rule=TEXT, level=TEXT),
    "tls_decision": st.none()
    | st.builds(
        TlsDecision,
        st.sampled_from(TlsAction),
        TEXT,
        TEXT,
        BOTH,
        st.just(("w: block",)) | st.just(()),
        BOTH.map(lambda on: ("s",) * on),
    ),
    "hello": st.none() | st.builds(HelloFacts, TEXT, st.just(()) | st.just(("h2",)), has_ech=BOTH, ja4=TEXT),
    "client_tls": st.none() | st.builds(TlsNotes, TEXT, TEXT, error=TEXT, resumed=BOTH, begun=st.floats(0, 9)),
    "server_tls": st.none() | st.builds(TlsNotes, TEXT, verify=TEXT, completed=BOTH),
    "events": st.lists(TEXT, max_size=2),
    "mismatches": st.lists(TEXT, max_size=2),
    "requests": st.integers(0, 2),
    "bytes_in": st.integers(0, 1 << 70),
    "started": st.floats(0, 2e9),
}
TASKS: dict[str, st.SearchStrategy[Any]] = {
    "decision": st.none()
    | st.builds(
        Decision, st.sampled_from(Action), rule=TEXT, level=TEXT, applied=st.sampled_from([(), ("p",)]),
        would=st.sampled_from([(), ("r: block",)]),
    ),
    "reason": st.sampled_from(Reason),
    "kind": st.sampled_from(["request", "tunnel", "connection", "websocket"]),
    "path": st.sampled_from(["", "/", "/é?token=1", "/?a=NaN", "/Infinity"]),
    "referer": TEXT, "detail": TEXT, "user_agent": TEXT, "method": TEXT, "scheme": st.sampled_from(["", "https", "tcp"]),
    "escape": st.none() | st.builds(EscapeNotes, st.just(("a",)), error=TEXT, reused=BOTH, tries=st.integers(0, 3)),
    "ended": st.floats(0, 2e9), "status": st.integers(0, 599), "response_bytes": st.integers(0, 1 << 70),
    "steps": st.dictionaries(st.sampled_from(["dns", "wait"]), st.floats(0, 1e9)),
    "websocket_frames": st.tuples(st.integers(0, 1), st.integers(0, 1)),
}  # fmt: skip


def changes(of: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=of)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(changes(CONNECTIONS), changes(TASKS)), min_size=1, max_size=6), st.integers(1, 3))
def test_the_parts_that_are_kept_are_those_of_the_event(told: list[tuple[dict[str, Any], dict[str, Any]]], room: int) -> None:
    """AUD-03: the same connection from task to task, changed in between, and a store of texts that forgets."""
    encode = compact_encoder()
    shared, conn = SharedText(encode, room), full_task().conn
    for of_conn, of_task in told:
        for name, value in of_conn.items():
            setattr(conn, name, value)
        notes = full_task(conn=conn, **of_task)
        assert json.loads(encode(task_parts(notes, MASKER))) | whole(shared.json(notes)) == plain(notes)


def test_a_record_is_the_plain_json_of_its_event(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0, MEGABYTE)
    recorder, wanted = Recorder(spool, ["token"]), []
    for notes in (
        full_task(),
        full_task(detail="é", path="/NaN"),
        task(),
        TaskNotes(ConnNotes(ClientFacts("", 0, "")), ended=1.0),
    ):
        recorder.record(notes)
        wanted.append(plain(notes))
    spool.close()
    (path,) = segments(tmp_path)
    lines = read_chunk(path, 0, released=True).lines
    assert [json.loads(line) for line in lines] == wanted
    assert all(line.isascii() for line in lines)


def test_the_first_request_of_a_connection_is_seen_by_who_learns(tmp_path: Path) -> None:
    """The learner looks for its sign in the line before it parses it."""
    spool, seen = Spool(tmp_path, 0, MEGABYTE), list[Any]()
    recorder = Recorder(spool)
    for requests in (1, 2, 10, 11):
        notes = full_task()
        notes.conn.requests, notes.conn.client_tls, notes.conn.server_tls = requests, None, None
        recorder.record(notes)
    spool.close()
    (path,) = segments(tmp_path)
    LearningSink(seen.extend).write(read_chunk(path, 0, released=True).lines)
    assert [event["conn_requests"] for event in seen] == [1]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_json_is_no_record(tmp_path: Path, value: float) -> None:
    spool = Spool(tmp_path, 0, MEGABYTE)
    notes = full_task()
    notes.steps = {"wait": value}
    with pytest.raises(SpoolError, match="no JSON"):
        Recorder(spool).record(notes)
    assert not notes.recorded
    spool.close()


def test_a_lone_surrogate_is_no_reason_to_lose_a_record() -> None:
    assert json.loads(compact_encoder()({"a": "\ud800"})) == {"a": "\ud800"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=20,
    )
)
def test_the_quick_encoder_says_what_the_standard_library_says(value: Any) -> None:
    text = compact_encoder()(value)
    assert text.isascii()
    assert b"\n" not in text
    assert repr(json.loads(text)) == repr(json.loads(json.dumps(value)))


def of_tls(name: str) -> Callable[[TaskNotes], None]:
    def change(notes: TaskNotes) -> None:
        assert notes.conn.server_tls
        old = getattr(notes.conn.server_tls, name)
        others: dict[type, object] = {str: "other", bool: not old, float: 7.0, tuple: ("other",)}
        setattr(notes.conn.server_tls, name, others.get(type(old)))

    return change


def of_decision(name: str) -> Callable[[TaskNotes], None]:
    def change(notes: TaskNotes) -> None:
        assert notes.decision
        other = ("other",) if isinstance(getattr(notes.decision, name), tuple) else "other"
        notes.decision = replace(notes.decision, **{name: other})

    return change


@pytest.mark.parametrize(
    "change",
    [*(of_tls(field.name) for field in fields(TlsNotes)), *map(of_decision, ("level", "applied", "would", "message", "rule"))],
)
def test_whatever_is_written_makes_another_text(change: Callable[[TaskNotes], None]) -> None:
    """What changes between two tasks of a connection, or between two connections, is never taken from what was kept."""
    shared, changed = SharedText(compact_encoder()), full_task()
    shared.json(full_task())
    change(changed)
    assert whole(shared.json(changed)) == written(shared, changed)


def test_old_texts_are_forgotten() -> None:
    shared = SharedText(compact_encoder(), capacity=2)
    for host in range(5):
        notes = full_task()
        assert notes.conn.client_tls
        notes.conn.client_tls.sni = notes.conn.protocol = f"{host}.test"
        assert whole(shared.json(notes))["client_tls"]["sni"] == f"{host}.test"
    assert (len(shared._tls), len(shared._courses)) == (2, 2)


def test_connections_that_say_the_same_share_a_text() -> None:
    shared = SharedText(compact_encoder())
    first, second = full_task(), full_task()
    assert first.conn.client_tls
    first.conn.client_tls.begun += 1.0
    assert shared._of_tls(first.conn) is shared._of_tls(second.conn)
    assert shared._course(first) is shared._course(second)
