"""A drain that is slower than the workers: bounded, visible, and nothing of it lost."""

import json
from pathlib import Path

import pytest

from appliance.app.backlog import standing
from appliance.audit.drain import Drain
from appliance.audit.errors import SpoolFull
from appliance.audit.feed import FeedStats
from appliance.audit.segment import directory_size
from appliance.audit.spool import Spool
from appliance.domain.clock import ManualClock
from appliance.telemetry.health import State
from tests.appliance.audit.test_drain import MemorySink

BOUND = 100_000


def stats(lag: int, error: str = "") -> FeedStats:
    return FeedStats(0, 0, 0, 0, lag, error, not error)


@pytest.mark.parametrize(
    ("lag", "error", "state", "says"),
    [
        (0, "", State.OK, ""),
        (25_000, "", State.OK, ""),
        (25_001, "", State.DEGRADED, "25001 bytes behind, 25 % of audit.spool_max"),
        (99_999, "OSError: disk", State.UNHEALTHY, "OSError: disk"),
    ],
)
def test_the_state_by_how_far_it_is_behind(lag: int, error: str, state: State, says: str) -> None:
    assert standing(stats(lag, error), BOUND) == (state, says)


def test_a_backlog_is_bounded_is_seen_and_goes_away_without_a_loss(tmp_path: Path) -> None:
    sink, clock = MemorySink(), ManualClock()
    spool, drain = Spool(tmp_path, 0, BOUND, clock=clock), Drain(tmp_path, [sink])
    sink.broken = OSError("too slow")
    written = 0
    with pytest.raises(SpoolFull):
        while True:
            spool.write(json.dumps({"id": str(written), "x": "y" * 1000}).encode())
            written += 1
    assert not drain.drain_once()
    assert spool.full
    assert directory_size(tmp_path) <= BOUND
    (seen,) = drain.stats().values()
    assert seen.lag_bytes == spool.used > BOUND * 0.9
    assert standing(seen, BOUND)[0] is State.UNHEALTHY
    sink.broken = None
    assert drain.drain_once()
    assert [json.loads(line)["id"] for line in sink.lines] == [str(number) for number in range(written)]
    (seen,) = drain.stats().values()
    assert (seen.lag_bytes, standing(seen, BOUND)[0]) == (0, State.OK)
    spool.close()
    assert drain.drain_once()
    again = Spool(tmp_path, 0, BOUND, clock=clock)
    assert not again.full
    again.close()
