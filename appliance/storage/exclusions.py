"""Exclusions and their history, in the event store's file; each tenant has a bounded number of them."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, text

from appliance.domain.act import Actor, Via
from appliance.domain.exclusion import Kind, Learned, State
from appliance.domain.learning import Entry, Evidence, Key, Record
from appliance.storage.keeping import keep_most_recent
from appliance.storage.observations import Observations, key_values
from appliance.storage.sqlite import SqliteStore

ENDED: Final = 1_000
"""Exclusions that are over and stay in the list, for each tenant; the oldest go first."""
NAMES: Final = 50
"""Clients and user agents that a record's evidence names."""

_COLUMNS: Final = (
    "id, tenant_id, host, fingerprint, kind, state, reason, retest, created_at, decided_at, decided_by, until, evidence"
)
_STEP: Final = "exclusion_id, at, actor, via, source_ip, action, note, event_id, exclusion_history.until"


class ExclusionStore:
    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.observations = Observations(store)
        """What exclusions are learned from."""

    def prune(self, now: float) -> None:
        """Forget what is old, and what is more than there is room for; of one client first. Raises StoreError."""
        self.observations.prune(now)
        with self._store.writing() as connection:
            # a step that is not told yet needs its exclusion: the event says what it was about
            untold = "SELECT exclusion_id FROM exclusion_history WHERE NOT told"
            ended = f"exclusions WHERE state IN ('expired', 'removed') AND id NOT IN ({untold})"
            keep_most_recent(connection, ended, "tenant_id", "decided_at", ENDED)
            connection.execute(text("DELETE FROM exclusion_history WHERE exclusion_id NOT IN (SELECT id FROM exclusions)"))

    def records(self, tenant: str | None = None) -> list[Record]:
        """All of them, newest first, of one tenant or of all."""
        where = "WHERE tenant_id = :tenant" if tenant is not None else ""
        sql = text(f"SELECT {_COLUMNS} FROM exclusions {where} ORDER BY created_at DESC, id DESC")  # noqa: S608 - fixed texts
        with self._store.reading() as connection:
            return [_record(row) for row in connection.execute(sql, {"tenant": tenant} if tenant is not None else {})]

    def standing(self) -> list[Record]:
        """Those that are not over."""
        sql = text(f"SELECT {_COLUMNS} FROM exclusions WHERE state IN ('proposed', 'active', 'rejected')")  # noqa: S608
        with self._store.reading() as connection:
            return [_record(row) for row in connection.execute(sql)]

    def get(self, exclusion_id: str) -> Record | None:
        sql = text(f"SELECT {_COLUMNS} FROM exclusions WHERE id = :id")  # noqa: S608 - fixed texts
        with self._store.reading() as connection:
            row = connection.execute(sql, {"id": exclusion_id}).first()
        return _record(row) if row is not None else None

    def open(self, key: Key) -> Record | None:
        """The proposal, exclusion or refusal that stands for a key."""
        sql = text(
            f"SELECT {_COLUMNS} FROM exclusions WHERE tenant_id = :tenant AND host = :host "  # noqa: S608 - fixed texts
            "AND fingerprint = :fingerprint AND state IN ('proposed', 'active', 'rejected')"
        )
        with self._store.reading() as connection:
            row = connection.execute(sql, key_values(key)).first()
        return _record(row) if row is not None else None

    def ended_at(self, key: Key) -> float:
        """When the last one for a key was over; 0 when there was none. What was seen before it counts no more."""
        sql = text(
            "SELECT coalesce(max(decided_at), 0) FROM exclusions WHERE tenant_id = :tenant AND host = :host "
            "AND fingerprint = :fingerprint AND state IN ('expired', 'removed')"
        )
        with self._store.reading() as connection:
            return float(connection.execute(sql, key_values(key)).scalar_one())

    def count_open(self, tenant: str) -> int:
        """How many proposals, exclusions and rejections a tenant has."""
        sql = text("SELECT count(*) FROM exclusions WHERE tenant_id = :tenant AND state IN ('proposed', 'active', 'rejected')")
        with self._store.reading() as connection:
            return int(connection.execute(sql, {"tenant": tenant}).scalar_one())

    def contributions(self, tenant: str) -> Counter[str]:
        """In the evidence of how many of a tenant's learned exclusions that are not over each client stands."""
        sql = text(
            "SELECT evidence FROM exclusions WHERE tenant_id = :tenant AND kind <> 'manual' "
            "AND state IN ('proposed', 'active', 'rejected')"
        )
        with self._store.reading() as connection:
            rows = connection.execute(sql, {"tenant": tenant}).all()
        return Counter(client for (evidence,) in rows for client in json.loads(evidence)["clients"])

    def add(self, record: Record, entry: Entry) -> bool:
        """Store a new one, with the first line of its history. False when one stands for its key already. Raises StoreError."""
        values = (
            record.id, record.key.tenant, record.key.host, record.key.fingerprint, record.key.kind.value, record.state.value,
            record.reason, record.retest, record.created_at, record.decided_at, record.decided_by, record.until,
            _evidence_text(record.evidence),
        )  # fmt: skip
        with self._store.writing() as connection:
            marks = ", ".join("?" * len(values))
            sql = f"INSERT OR IGNORE INTO exclusions ({_COLUMNS}) VALUES ({marks})"  # noqa: S608 - fixed texts
            if connection.exec_driver_sql(sql, values).rowcount == 0:
                return False
            _write_history(connection, entry)
            return True

    def decide(self, exclusion_id: str, was: State, state: State, until: float, entry: Entry) -> bool:
        """Change the state, if it still is what it was, and write it into the history. Raises StoreError."""
        sql = text(
            "UPDATE exclusions SET state = :state, until = :until, decided_at = :at, decided_by = :actor "
            "WHERE id = :id AND state = :was"
        )
        values = {
            "state": state.value, "until": until, "at": entry.at, "actor": str(entry.actor)[:300],
            "id": exclusion_id, "was": was.value,
        }  # fmt: skip
        with self._store.writing() as connection:
            if connection.execute(sql, values).rowcount == 0:
                return False
            _write_history(connection, entry)
            return True

    def refresh(self, exclusion_id: str, evidence: Evidence, reason: str) -> None:
        """More was seen since: newer evidence for a proposal. Raises StoreError."""
        sql = text("UPDATE exclusions SET evidence = :evidence, reason = :reason WHERE id = :id")
        with self._store.writing() as connection:
            connection.execute(sql, {"evidence": _evidence_text(evidence), "reason": reason, "id": exclusion_id})

    def history(self, exclusion_id: str) -> list[Entry]:
        """Who decided what, oldest first."""
        sql = text(f"SELECT {_STEP} FROM exclusion_history WHERE exclusion_id = :id ORDER BY seq")  # noqa: S608 - fixed texts
        with self._store.reading() as connection:
            return [_entry(row) for row in connection.execute(sql, {"id": exclusion_id})]

    # -- the outbox --

    def untold(self, most: int) -> list[tuple[Entry, Key]]:
        """Steps that the audit stream does not know yet, oldest first."""
        sql = text(
            f"SELECT {_STEP}, tenant_id, host, fingerprint, kind FROM exclusion_history "  # noqa: S608 - fixed texts
            "JOIN exclusions ON exclusions.id = exclusion_id WHERE NOT told ORDER BY seq LIMIT :most"
        )
        with self._store.reading() as connection:
            rows = connection.execute(sql, {"most": most})
            return [(_entry(row), Key(row[9], row[10], row[11], Kind(row[12]))) for row in rows]

    def mark_told(self, entries: Iterable[Entry]) -> None:
        """The audit stream knows them. Raises StoreError; then they are told once more, under the same ids."""
        ids = [(entry.event_id,) for entry in entries]
        if ids:
            with self._store.writing() as connection:
                connection.exec_driver_sql("UPDATE exclusion_history SET told = 1 WHERE event_id = ?", ids)


def learned(record: Record) -> Learned:
    """As workers know it."""
    key = record.key
    return Learned(record.id, key.tenant, key.host, key.fingerprint, key.kind, record.reason, record.until, record.retest)


def _evidence_text(evidence: Evidence) -> str:
    shown = asdict(evidence) | {"clients": list(evidence.clients[:NAMES]), "user_agents": list(evidence.user_agents[:NAMES])}
    return json.dumps(shown)


def _record(row: Any) -> Record:
    key = Key(row[1], row[2], row[3], Kind(row[4]))
    kept: Mapping[str, Any] = json.loads(row[12])
    evidence = Evidence(**{**kept, "clients": tuple(kept["clients"]), "user_agents": tuple(kept["user_agents"])})
    return Record(row[0], key, State(row[5]), row[6], row[7], row[8], row[9], row[10], row[11], evidence)


def _write_history(connection: Connection, entry: Entry) -> None:
    who = entry.actor
    values = (
        entry.exclusion_id, entry.at, who.name, entry.action, entry.note, entry.event_id, who.via.value, who.address,
        entry.until,
    )  # fmt: skip
    columns = "exclusion_id, at, actor, action, note, event_id, via, source_ip, until"
    connection.exec_driver_sql(
        f"INSERT INTO exclusion_history ({columns}, told) VALUES ({', '.join('?' * len(values))}, 0)",  # noqa: S608 - fixed texts
        values,
    )


def _entry(row: Any) -> Entry:
    return Entry(row[0], row[1], Actor(row[2], Via(row[3]), row[4]), row[5], row[6], row[7], row[8])
