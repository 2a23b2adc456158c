"""The way of events into the ledger."""

import json
from typing import Any

from appliance.retro.observe import deliveries
from appliance.retro.sink import RetroSink
from tests.appliance.retro.test_observe import event, scan


def test_only_events_with_scans_are_parsed_and_others_are_borne() -> None:
    taken: list[Any] = []
    sink = RetroSink(taken.extend)
    assert sink.open({"a": 1}) == {"a": 1}
    good = {"id": "1", "scans": [{"outcome": "clean"}]}
    lines = [json.dumps(good, separators=(",", ":")).encode(), b'{"id":"2"}', b'{"scans":[', b'["scans":[]', b'"\\"scans\\":["']
    assert sink.write(lines).rejected == 0
    assert taken == [good]
    sink.close()


def test_d6_a_verdict_is_as_old_as_the_beginning_of_a_long_task() -> None:
    taken: list[Any] = []
    made = event(scan(age_s=5.0), started_at=40.0, created_at=100.0)
    RetroSink(taken.extend).write([json.dumps(made, separators=(",", ":")).encode()])
    assert [each.judged_at for each in deliveries(taken[0])] == [35.0]
