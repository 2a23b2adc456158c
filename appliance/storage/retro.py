"""The ledger of what was delivered, in the event store's file: bodies by tenant and hash, and the flows that delivered them.

Every step leaves the tables such that it may be taken again: what a crash repeats changes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from sqlalchemy import Connection, text

from appliance.domain.retro import Delivery, Finding, Flow, Hunt
from appliance.storage.sqlite import SqliteStore

END: Final = "~"
"""Stands behind every hash: a hunt that has come to it has seen all."""
BATCH: Final = 1000
_BODY: Final = (
    "INSERT INTO retro_bodies (tenant_id, sha256, size, first_at, last_at, limits, sample, verdict, service, engine, istag, "
    "judged_at, plain, tried_at, signature, found_by, found_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0, '', '', 0) "
    "ON CONFLICT DO UPDATE SET first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at), "
    "sample = CASE excluded.sample WHEN '' THEN sample ELSE excluded.sample END, "
    "limits = CASE WHEN limits = '' OR excluded.limits = '' THEN '' ELSE excluded.limits END, "
    "(verdict, service, engine, istag, judged_at) = (SELECT excluded.verdict, excluded.service, excluded.engine, "
    "excluded.istag, excluded.judged_at WHERE excluded.judged_at > judged_at AND verdict <> 'bad' "
    "UNION ALL SELECT verdict, service, engine, istag, judged_at LIMIT 1)"
)
_FIRST, _LAST, _LIMITS, _SAMPLE, _JUDGED = range(3, 8)
"""Places in a row of ``_BODY``; from the last one on stands its verdict, with when it was made at the end."""
_FLOW: Final = (
    "INSERT OR IGNORE INTO retro_flows (tenant_id, sha256, task_id, side, at, user_id, client, host, url, told) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"
)
_BAD: Final = text(
    "UPDATE retro_bodies SET verdict = 'bad', signature = :signature, found_by = :by, engine = :engine, found_at = :at, "
    "judged_at = max(judged_at, :at) WHERE tenant_id = :tenant AND sha256 = :sha256 AND verdict <> 'bad'"
)
_HUNTS: Final = "tenant_id, cause, started_at, ended_at, lists, position, tag, since, judged, found"
_SAVE: Final = text(
    f"INSERT OR REPLACE INTO retro_hunts ({_HUNTS}) VALUES "  # noqa: S608
    "(:tenant, :cause, :started_at, :ended_at, :lists, :position, :tag, :since, :judged, :found)"
)
_WAITING: Final = text(
    "SELECT count(*) FROM retro_bodies WHERE tenant_id = :tenant AND sample <> '' AND verdict <> 'bad' "
    "AND judged_at < :since AND tried_at < :since"
)
_UNTOLD: Final = text(
    # asked every second: by itself, SQLite goes through all bodies of the tenant
    "SELECT tenant_id, sha256 FROM retro_bodies AS body INDEXED BY idx_retro_bad "
    "WHERE tenant_id = :tenant AND verdict = 'bad' AND EXISTS (SELECT 1 "
    "FROM retro_flows AS flow WHERE flow.tenant_id = body.tenant_id AND flow.sha256 = body.sha256 AND NOT told) LIMIT :most"
)
_UNTOLD_FLOWS: Final = text(
    "SELECT task_id, at, side, user_id, client, host, url FROM retro_flows WHERE tenant_id = :tenant AND sha256 = :sha256 "
    "AND NOT told ORDER BY at, task_id LIMIT :most"
)
_TOLD: Final = "UPDATE retro_flows SET told = 1 WHERE tenant_id = ? AND sha256 = ? AND task_id = ? AND side = ?"
_OLD: Final = (
    "DELETE FROM retro_flows WHERE tenant_id = :tenant AND at < :before",
    "DELETE FROM retro_flows WHERE tenant_id = :tenant AND at < (SELECT at FROM retro_flows WHERE tenant_id = :tenant "
    "ORDER BY at DESC LIMIT 1 OFFSET :flows)",
    "DELETE FROM retro_bodies WHERE tenant_id = :tenant AND last_at < :before",
    "DELETE FROM retro_bodies WHERE tenant_id = :tenant AND sha256 IN (SELECT sha256 FROM retro_bodies "
    "WHERE tenant_id = :tenant ORDER BY last_at DESC LIMIT -1 OFFSET :bodies)",
    "DELETE FROM retro_flows WHERE tenant_id = :tenant AND NOT EXISTS (SELECT 1 FROM retro_bodies AS body "
    "WHERE body.tenant_id = retro_flows.tenant_id AND body.sha256 = retro_flows.sha256)",
)


class RetroLedger:
    """All of it may block, and raises StoreError."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    # -- what was delivered --------------------------------------------------------------------------------------------

    def observe(self, deliveries: Sequence[Delivery], findings: Sequence[Finding]) -> int:
        """Take them in; the same again changes nothing. ``findings`` of bodies that a tenant has not are nothing. How many
        bodies became bad."""
        if not deliveries and not findings:
            return 0
        with self._store.writing() as connection:
            if deliveries:
                connection.exec_driver_sql(_BODY, _bodies(deliveries))
                connection.exec_driver_sql(_FLOW, [_flow(each) for each in deliveries])
            return mark(connection, findings)

    def mark(self, findings: Iterable[Finding]) -> int:
        """What was found: how many bodies became bad by it."""
        with self._store.writing() as connection:
            return mark(connection, findings)

    def prune(self, tenant: str, before: float, bodies: int, flows: int) -> None:
        """Forget what is older, and what there is no room for, the oldest first."""
        limits = {"tenant": tenant, "before": before, "bodies": bodies, "flows": flows - 1}
        for statement in _OLD:
            with self._store.writing() as connection:  # one transaction each: events are stored between them
                connection.execute(text(statement), limits)

    def tenants(self) -> list[str]:
        """Those that have a ledger, also where the configuration does not know them any more."""
        sql = text("SELECT DISTINCT tenant_id FROM retro_bodies UNION SELECT DISTINCT tenant_id FROM retro_flows")
        with self._store.reading() as connection:
            return [row[0] for row in connection.execute(sql)]

    # -- hunts ---------------------------------------------------------------------------------------------------------

    def hunt(self, tenant: str) -> Hunt | None:
        with self._store.reading() as connection:
            return _hunt(connection, tenant)

    def change(self, tenant: str, **values: Any) -> Hunt:
        """Set parts of a tenant's hunt, whatever others have set meanwhile."""
        with self._store.writing() as connection:
            hunt = replace(_hunt(connection, tenant) or Hunt(tenant), **values)
            _save(connection, hunt)
            return hunt

    def hashes(self, tenant: str, after: str, most: int) -> list[tuple[str, str]]:
        """Hashes above ``after`` in order, each with that of what is packed in it, where it is known."""
        sql = text(
            "SELECT sha256, plain FROM retro_bodies WHERE tenant_id = :tenant AND sha256 > :after ORDER BY sha256 LIMIT :most"
        )
        with self._store.reading() as connection:
            found = connection.execute(sql, {"tenant": tenant, "after": after, "most": most}).all()
        return [(sha256, plain) for sha256, plain in found]

    def advance(self, tenant: str, before: str, position: str, judged: int, findings: Sequence[Finding]) -> int:
        """Note how far a hunt has come, with what it found, in one transaction: unless it was sent back meanwhile, from
        ``before`` to elsewhere. How many bodies became bad."""
        with self._store.writing() as connection:
            found = mark(connection, findings)
            hunt = _hunt(connection, tenant)
            if hunt is not None and hunt.position == before:
                _save(connection, replace(hunt, position=position, judged=hunt.judged + judged, found=hunt.found + found))
            return found

    def waiting(self, tenant: str, since: float) -> int:
        """Samples whose last verdict is older than ``since``, and that were not tried since then."""
        with self._store.reading() as connection:
            return int(connection.execute(_WAITING, {"tenant": tenant, "since": since}).scalar_one())

    # -- alerts --------------------------------------------------------------------------------------------------------

    def untold(self, tenant: str, most: int) -> list[str]:
        """Hashes of bad bodies with flows that no alert has listed."""
        with self._store.reading() as connection:
            return [row[1] for row in connection.execute(_UNTOLD, {"tenant": tenant, "most": most})]

    def untold_flows(self, tenant: str, sha256: str, most: int) -> list[Flow]:
        """The oldest of them."""
        asked = {"tenant": tenant, "sha256": sha256, "most": most}
        with self._store.reading() as connection:
            return [Flow(*row) for row in connection.execute(_UNTOLD_FLOWS, asked)]

    def mark_told(self, tenant: str, sha256: str, flows: Iterable[Flow]) -> None:
        with self._store.writing() as connection:
            connection.exec_driver_sql(_TOLD, [(tenant, sha256, flow.task, flow.side) for flow in flows])


def mark(connection: Connection, findings: Iterable[Finding]) -> int:
    """How many bodies became bad by it."""
    number = 0
    for each in findings:
        values = {
            "tenant": each.tenant, "sha256": each.sha256, "signature": each.signature, "by": each.by, "engine": each.engine,
            "at": each.at,
        }  # fmt: skip
        number += connection.execute(_BAD, values).rowcount
    return number


def _bodies(deliveries: Iterable[Delivery]) -> list[tuple[Any, ...]]:
    """A row for each body: what ``_BODY`` makes of its deliveries one after the other. The same few bodies are most of what is
    delivered."""
    rows: dict[tuple[str, str], list[Any]] = {}
    for each in deliveries:
        limits = ",".join(sorted(each.limits)) if each.limits else ""
        judged = [each.verdict.value, each.service, each.engine, each.istag, each.judged_at]
        row = rows.get((each.tenant, each.sha256))
        if row is None:
            key = (each.tenant, each.sha256)
            rows[key] = [*key, each.size, each.at, each.at, limits, each.sample, *judged]
            continue
        row[_FIRST], row[_LAST] = min(row[_FIRST], each.at), max(row[_LAST], each.at)
        row[_LIMITS] = limits if row[_LIMITS] else ""  # a whole hash outweighs a limited one
        row[_SAMPLE] = each.sample or row[_SAMPLE]
        if each.judged_at > row[-1]:
            row[_JUDGED:] = judged
    return [tuple(row) for row in rows.values()]


def _flow(each: Delivery) -> tuple[Any, ...]:
    return (
        each.tenant, each.sha256, each.task, each.side, each.at, each.user, each.client, each.host, each.url,
    )  # fmt: skip


def _hunt(connection: Connection, tenant: str) -> Hunt | None:
    sql = text(f"SELECT {_HUNTS} FROM retro_hunts WHERE tenant_id = :tenant")  # noqa: S608
    row = connection.execute(sql, {"tenant": tenant}).one_or_none()
    return Hunt(*row) if row is not None else None


def _save(connection: Connection, hunt: Hunt) -> None:
    connection.execute(_SAVE, asdict(hunt))
