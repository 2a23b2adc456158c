"""The way of events into the ledger."""

import json
from typing import Any

from appliance.retro.sink import RetroSink


def test_only_events_with_scans_are_parsed_and_others_are_borne() -> None:
    taken: list[Any] = []
    sink = RetroSink(taken.extend)
    assert sink.open({"a": 1}) == {"a": 1}
    good = {"id": "1", "scans": [{"outcome": "clean"}]}
    lines = [json.dumps(good, separators=(",", ":")).encode(), b'{"id":"2"}', b'{"scans":[', b'["scans":[]', b'"\\"scans\\":["']
    assert sink.write(lines).rejected == 0
    assert taken == [good]
    sink.close()
