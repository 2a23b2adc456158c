"""AUD-04, D5: each decision about an exclusion reaches the audit stream, whatever dies meanwhile."""

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.audit.acts import tell
from appliance.audit.drain import Drain
from appliance.audit.sinks.lines import JsonLinesSink
from appliance.audit.sinks.store import StoreSink
from appliance.domain.act import Act, Actor, Via
from appliance.domain.exclusion import State
from appliance.learning import outbox as module
from appliance.learning.outbox import Outbox
from appliance.storage.sqlite import SqliteStore
from tests.appliance.learning.scene import ALICE, APP, HOST, THREE, Scene, scene

MAX = 10_000_000
BOB = Actor("bob", Via.WEB, "10.9.9.9")


def carried(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the store and the JSON lines have after a pass of the drain; oldest first."""
    store = SqliteStore(folder / "audit.db")
    drain = Drain(folder / "spool", [StoreSink(store), JsonLinesSink(folder / "audit.jsonl")])
    assert drain.drain_once()
    stored = [event for _, _, event in store.select("1", {}, "seq", 1000)]
    store.close()
    return stored, [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]


def outbox(place: Scene, folder: Path) -> Outbox:
    return Outbox(place.store, lambda acts: tell(folder / "spool", MAX, acts))


def test_d5_every_decision_is_told_with_who_from_where_and_why(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.trusting(*THREE)
        place.refuse(*THREE)
        number = place.records[0].id
        place.desk.reject(number, BOB, "not for us")
        added = place.desk.add("b", "own.test", "vendor confirmed", ALICE)
        place.desk.extend(added.id, ALICE, "ticket 4711", ttl=3600.0)
        outbox(place, tmp_path).empty()
        until = place.clock.now() + 3600
    stored, lines = carried(tmp_path)
    assert stored == lines
    assert {(event["kind"], event["action"], event["event_type"], event["blocked"]) for event in stored} == {
        ("decision", "decide", "allow", False)
    }
    told = [(event["act"]["verb"], event["act"]["by"], event["act"]["via"], event["source_ip"]) for event in stored]
    assert told == [
        ("active", "policy", "appliance", ""),
        ("rejected", "bob", "web", "10.9.9.9"),
        ("added", "alice", "command line", ""),
        ("extended", "alice", "command line", ""),
    ]
    _, rejected, _, extended = stored
    assert (rejected["tenant_id"], rejected["destination_host"], rejected["user_id"]) == ("a", HOST, "bob")
    assert (rejected["act"]["subject"], rejected["act"]["fingerprint"]) == (number, APP)
    assert rejected["act"]["note"] == "not for us"
    assert (extended["tenant_id"], extended["act"]["until"]) == ("b", until)
    assert extended["detail"] == "exclusion own.test extended by alice at the command line: ticket 4711"


def test_d5_a_crash_between_telling_and_marking_loses_none_and_the_store_has_each_once(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        place.desk.add("a", "x.test", "why", ALICE)

        def dies(acts: Any) -> None:
            tell(tmp_path / "spool", MAX, acts)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Outbox(place.store, dies).empty()
        assert [event["act"]["verb"] for event in carried(tmp_path)[0]] == ["added"]
        outbox(place, tmp_path).empty()
        outbox(place, tmp_path).empty()
    stored, lines = carried(tmp_path)
    assert len(stored) == 1
    assert [line["id"] for line in lines] == [stored[0]["id"]] * 2, "at least once, under one id"


def test_d5_what_the_spool_does_not_take_is_told_later(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        record = place.desk.add("a", "x.test", "why", ALICE)

        def full(_: Any) -> None:
            raise OSError("no room")

        with pytest.raises(OSError, match="no room"):
            Outbox(place.store, full).empty()
        # over, and pruned as early as it may be: it stays until it was told
        place.desk.remove(record.id, ALICE)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("appliance.storage.exclusions.ENDED", 0)
            place.store.prune(place.clock.now())
            outbox(place, tmp_path).empty()
            assert place.desk.get(record.id).state is State.REMOVED
            place.store.prune(place.clock.now())
        assert place.records == []
    assert [event["act"]["verb"] for event in carried(tmp_path)[0]] == ["added", "removed"]


def test_d5_more_than_one_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    told: list[Act] = []
    with scene(tmp_path) as place:
        record = place.desk.add("a", "x.test", "why", ALICE)
        for _ in range(4):
            place.desk.extend(record.id, ALICE)
        Outbox(place.store, told.extend).empty()
    assert [act.verb for act in told] == ["added", *["extended"] * 4]
    assert len({act.id for act in told}) == 5
