"""Which client has accepted, or refused, a leaf of which CA: one row each, in the event store's file."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import text

from appliance.domain.readiness import Encounter
from appliance.storage.sqlite import SqliteStore

MEMORY: Final = 60 * 86_400.0
"""Seconds that a client which does not come again is remembered."""
MAX_ROWS: Final = 200_000
"""Rows of all CAs together; the oldest go first. Clients make them, so they are bounded."""
_ADD: Final = (
    "INSERT INTO ca_encounters (tenant_id, client, ca_sha256, accepted_at, refused_at, user_id, user_agent) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET accepted_at = max(accepted_at, excluded.accepted_at), "
    "refused_at = max(refused_at, excluded.refused_at), "
    "user_id = CASE excluded.user_id WHEN '' THEN user_id ELSE excluded.user_id END, "
    "user_agent = CASE excluded.user_agent WHEN '' THEN user_agent ELSE excluded.user_agent END"
)
_OF: Final = text(
    "SELECT tenant_id, client, ca_sha256, accepted_at, refused_at, user_id, user_agent FROM ca_encounters "
    "WHERE ca_sha256 IN (:one, :other)"
)
_OLD: Final = text(
    "DELETE FROM ca_encounters WHERE max(accepted_at, refused_at) < :before OR rowid IN (SELECT rowid FROM ca_encounters "
    "ORDER BY max(accepted_at, refused_at) DESC LIMIT -1 OFFSET :most)"
)


class CaEncounters:
    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def add(self, encounters: Iterable[Encounter]) -> None:
        """Keep what is newest; the same a second time changes nothing. Raises StoreError."""
        rows = [(e.tenant, e.ip, e.ca, e.accepted, e.refused, e.user, e.agent) for e in encounters]
        if rows:
            with self._store.writing() as connection:
                connection.exec_driver_sql(_ADD, rows)

    def of(self, one: str, other: str) -> list[Encounter]:
        """Everything that is known of two CAs, by their fingerprints. Raises StoreError."""
        with self._store.reading() as connection:
            found = connection.execute(_OF, {"one": one, "other": other}).all()
        return [Encounter(*row) for row in found]

    def prune(self, now: float) -> None:
        """Forget who does not come any more, and what there is no room for. Raises StoreError."""
        with self._store.writing() as connection:
            connection.execute(_OLD, {"before": now - MEMORY, "most": MAX_ROWS})
