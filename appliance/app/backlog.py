"""How far a sink of the audit stream is behind, as health: said long before the spool is full and new tasks are refused."""

from typing import Final

from appliance.audit.feed import FeedStats
from appliance.telemetry.health import State

BEHIND: Final = 0.25
"""The share of ``audit.spool_max`` from which a sink counts as too slow."""


def standing(stats: FeedStats, spool_max: int) -> tuple[State, str]:
    """The state, and a word for a person."""
    if not stats.healthy:
        return State.UNHEALTHY, stats.last_error
    if stats.lag_bytes > spool_max * BEHIND:
        share = 100 * stats.lag_bytes // max(spool_max, 1)
        return State.DEGRADED, f"{stats.lag_bytes} bytes behind, {share} % of audit.spool_max"
    return State.OK, ""
