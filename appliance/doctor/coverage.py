"""What was scanned lately, by the ledger: whether it is less than the alarm allows."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

from appliance.app.coverage_alarm import alarms
from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.doctor.finding import Finding, ok, warn
from appliance.domain.clock import Clock, SystemClock
from appliance.domain.coverage import NOT_INSPECTED, Bucket
from appliance.domain.coverage_window import Seen
from appliance.storage.coverage import HOUR

_SUMS = "SELECT tenant_id, bucket, sum(bytes) FROM coverage WHERE hour >= ? GROUP BY tenant_id, bucket"


def examine(config: AppConfig, clock: Clock | None = None) -> Iterator[Finding]:
    """Reads; the ledger counts whole hours, so that it may look further back than ``window``."""
    alarm, file = config.coverage_alarm, config.audit.store.path or StatePaths(config.state_dir).audit_db
    if alarm is None or not file.exists():
        return
    since = int(((clock or SystemClock()).now() - alarm.window) // HOUR) * HOUR
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=2.0)) as database:
            rows = database.execute(_SUMS, (since,)).fetchall()
    except sqlite3.Error as error:
        yield warn("coverage", f"{file} cannot be read: {error}", "when it is of an older version, `arcus run` updates it")
        return
    told = alarms(alarm, _seen(rows, everything=alarm.of == "everything"))
    shown = time.strftime("%H:%M UTC", time.gmtime(since))
    for each in told:
        yield warn("coverage", f"since {shown} {each}", "`arcus coverage --by host --sort not_inspected` says what, and why")
    if not told:
        yield ok("coverage", f"since {shown} no tenant has more than {alarm.above:.0%} unscanned")


def _seen(rows: list[tuple[str, str, int]], *, everything: bool) -> dict[str, Seen]:
    passed = {each.word for each in NOT_INSPECTED} if everything else {Bucket.NOT_SCANNED.word}
    found: dict[str, Seen] = {}
    for tenant, bucket, size in rows:
        before = found.get(tenant, Seen(0, 0))
        scanned = size if bucket == Bucket.SCANNED.word else 0
        found[tenant] = Seen(before.scanned + scanned, before.unscanned + (size if bucket in passed else 0))
    return found
