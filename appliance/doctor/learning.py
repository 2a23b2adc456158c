"""Exclusions that were learned: whether the workers' list is good, and what waits for a person."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from appliance.app.learning import learns, tenant_rules
from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.doctor.finding import Finding, fail, ok, warn
from appliance.domain.clock import Clock, SystemClock
from appliance.domain.exclusion import from_snapshot

DAY: Final = 86_400.0
WAITING: Final = 7 * DAY
"""How long a proposal may wait for a person before it is told."""
UNTOLD: Final = 300.0
"""How long a decision may wait for its way into the audit stream."""
_PROPOSED: Final = "SELECT tenant_id, count(*), min(created_at) FROM exclusions WHERE state = 'proposed' GROUP BY tenant_id"
_OPEN: Final = "SELECT tenant_id, count(*) FROM exclusions WHERE state IN ('proposed', 'active', 'rejected') GROUP BY tenant_id"
_LATE: Final = "SELECT count(*) FROM exclusion_history WHERE NOT told AND at < ?"


def examine(config: AppConfig, clock: Clock | None = None) -> Iterator[Finding]:
    """Reads; the database is not brought up to date for it."""
    now, paths = (clock or SystemClock()).now(), StatePaths(config.state_dir)
    modes = [f"{tenant} {rules.learning.mode}" for tenant, rules in sorted(tenant_rules(config).items())]
    yield ok("learning", ", ".join(modes) if learns(config) else "no tenant learns exclusions")
    yield from _snapshot(paths.exclusions)
    file = config.audit.store.path or paths.audit_db
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=2.0)) as database:
            yield from _decisions(config, database, now)
    except sqlite3.Error as error:
        yield warn("exclusions", f"{file} cannot be read: {error}", "when it is of an older version, `arcus run` updates it")


def _snapshot(file: Path) -> Iterator[Finding]:
    try:
        held = from_snapshot(file.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        hint = "while it cannot be read, nothing learned is excluded; delete it, and the admin process writes it anew"
        yield fail("exclusions", f"{file}: {error}", hint)
    else:
        yield ok("exclusions", f"{len(held)} hold")


def _decisions(config: AppConfig, database: sqlite3.Connection, now: float) -> Iterator[Finding]:
    for tenant, number, oldest in database.execute(_PROPOSED).fetchall():
        told = f"{number} proposed for {tenant}, the oldest {max(0.0, now - oldest) / DAY:.0f} days ago"
        if now - oldest > WAITING:
            yield warn("proposals", told, f"decide: `arcus exclusion list --tenant {tenant}`, or the page /exclusions")
        else:
            yield ok("proposals", told)
    rules = tenant_rules(config)
    for tenant, number in database.execute(_OPEN).fetchall():
        if tenant in rules and number >= rules[tenant].learning.max_entries:
            hint = "nothing more is learned: remove some with `arcus exclusion remove`, or raise max_entries"
            yield warn("exclusions", f"{tenant} has {number}, as many as it may", hint)
    (late,) = database.execute(_LATE, (now - UNTOLD,)).fetchone()
    if late:
        hint = "start Arcus; if it runs, the log of the admin process says why, and nothing is lost"
        yield warn("decisions", f"{late} are not in the audit stream yet", hint)
