"""What clients accept and refuse, from which exclusions are learned. All of it is bounded: what clients do adds rows."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, text

from appliance.domain.exclusion import Kind
from appliance.domain.learning import Acceptance, Evidence, Key, Refusal
from appliance.storage.keeping import keep_fair_share, keep_most_recent
from appliance.storage.sqlite import SqliteStore

REFUSALS_PER_CLIENT: Final = 20
"""Of one client for one key, within a day: a client that fails a thousand times says no more than with twenty."""
REFUSALS: Final = 50_000
HOSTS_PER_CLIENT: Final = 2_000
ACCEPTANCES: Final = 200_000
MEMORY: Final = 30 * 86_400.0
"""Seconds that observations are kept."""
_DAY: Final = 86_400.0
FRESH: Final = 60.0
"""Seconds for which an acceptance that is stored need not be stored again: its time only says when it may be forgotten."""
REMEMBERED: Final = 20_000

type _Place = tuple[str, str, str, str]
type _Accepted = tuple[str, str, str, str, str, float]

_ACCEPT: Final = (
    "INSERT INTO tls_acceptances (tenant_id, client, fingerprint, host, user_agent, seen_at) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET seen_at = max(seen_at, excluded.seen_at), user_agent = excluded.user_agent"
)
_REFUSE: Final = (
    "INSERT OR IGNORE INTO tls_refusals (conn_id, tenant_id, host, fingerprint, kind, client, cause, created_at) "
    "SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE (SELECT count(*) FROM tls_refusals WHERE tenant_id = ? AND host = ? "
    "AND fingerprint = ? AND client = ? AND created_at > ?) < ?"
)


class Observations:
    """Those of all tenants, in the event store's file."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._stored: dict[_Place, tuple[str, float]] = {}
        """Acceptances that are in the database: with what User-Agent, and when."""

    def observe(self, refusals: Iterable[Refusal], acceptances: Iterable[Acceptance]) -> int:
        """Add what was seen; the same observation a second time changes nothing. How many rows it was at most.

        For one thread; ``prune`` may be called by another. Raises StoreError.
        """
        accepted = self._new(acceptances)
        refused = [_refusal_row(each) for each in refusals]
        if not accepted and not refused:
            return 0
        with self._store.writing() as connection:
            if accepted:
                connection.exec_driver_sql(_ACCEPT, accepted)
            if refused:
                connection.exec_driver_sql(_REFUSE, refused)
        self._remember(accepted)
        return len(accepted) + len(refused)

    def _new(self, acceptances: Iterable[Acceptance]) -> list[_Accepted]:
        """The newest of each, without those that are as good as stored: a client that comes back every second says no more than
        with once in ``FRESH``."""
        newest: dict[_Place, _Accepted] = {}
        for each in acceptances:
            place = (each.tenant, each.client, each.fingerprint, each.host)
            agent, at = self._stored.get(place, ("", 0.0))
            if each.user_agent != agent or not at <= each.at < at + FRESH:
                newest[place] = (*place, each.user_agent, max(each.at, newest[place][5] if place in newest else 0.0))
        return list(newest.values())

    def _remember(self, accepted: Iterable[_Accepted]) -> None:
        """Once they are in the database, and not before."""
        if len(self._stored) > REMEMBERED:
            self._stored.clear()
        self._stored.update({(row[0], row[1], row[2], row[3]): (row[4], row[5]) for row in accepted})

    def suspects(self, since: float) -> list[Key]:
        """Every key that had a refusal since then."""
        sql = text("SELECT DISTINCT tenant_id, host, fingerprint, kind FROM tls_refusals WHERE created_at >= :since")
        with self._store.reading() as connection:
            return [Key(row[0], row[1], row[2], Kind(row[3])) for row in connection.execute(sql, {"since": since})]

    def evidence(self, key: Key, since: float) -> Evidence:
        """What is known about a key, of refusals since then and of everything that was accepted."""
        with self._store.reading() as connection:
            return _evidence(connection, key, since)

    def prune(self, now: float) -> None:
        """Forget what is old, and what is more than there is room for; of one client first. Raises StoreError."""
        # forgotten before: what is taken in meanwhile is stored again, be it gone or not
        self._stored = {}
        with self._store.writing() as connection:
            _prune(connection, now)
        self._stored = {}


def key_values(key: Key) -> dict[str, str]:
    """For the statements that ask by key."""
    return {"tenant": key.tenant, "host": key.host, "fingerprint": key.fingerprint}


def _refusal_row(each: Refusal) -> tuple[Any, ...]:
    key = each.key
    named = (key.tenant, key.host, key.fingerprint)
    return (
        each.conn_id,
        *named,
        key.kind.value,
        each.client,
        each.cause[:64],
        each.at,
        *named,
        each.client,
        each.at - _DAY,
        REFUSALS_PER_CLIENT,
    )


_TRUSTED: Final = """
SELECT client, count(*), min(created_at), max(created_at), EXISTS (
    SELECT 1 FROM tls_acceptances AS a WHERE a.tenant_id = r.tenant_id AND a.client = r.client
    AND a.fingerprint = r.fingerprint AND a.host <> r.host
) AS trusts FROM tls_refusals AS r
WHERE tenant_id = :tenant AND host = :host AND fingerprint = :fingerprint AND kind = :kind AND created_at >= :since
GROUP BY client ORDER BY client
"""
_CAUSES: Final = """
SELECT cause, count(*) FROM tls_refusals WHERE tenant_id = :tenant AND host = :host AND fingerprint = :fingerprint
AND kind = :kind AND created_at >= :since GROUP BY cause ORDER BY count(*) DESC, cause LIMIT 10
"""
_AGENTS: Final = """
SELECT DISTINCT a.user_agent FROM tls_refusals AS r JOIN tls_acceptances AS a
ON a.tenant_id = r.tenant_id AND a.client = r.client AND a.fingerprint = r.fingerprint
WHERE r.tenant_id = :tenant AND r.host = :host AND r.fingerprint = :fingerprint AND r.created_at >= :since
AND a.user_agent <> '' ORDER BY a.user_agent LIMIT 50
"""
_HERE: Final = """
SELECT count(DISTINCT CASE WHEN :fingerprint IN ('', fingerprint) THEN client END),
count(DISTINCT CASE WHEN :fingerprint NOT IN ('', fingerprint) THEN client END)
FROM tls_acceptances WHERE tenant_id = :tenant AND host = :host
"""
_ELSEWHERE: Final = """
SELECT count(DISTINCT host) FROM tls_acceptances WHERE tenant_id = :tenant AND fingerprint = :fingerprint AND host <> :host
"""


def _evidence(connection: Connection, key: Key, since: float) -> Evidence:
    values = key_values(key) | {"since": since, "kind": key.kind.value}
    rows = connection.execute(text(_TRUSTED), values).all()
    # a server's question has nothing to do with what the client believes
    counted = [row for row in rows if row[4] or key.kind is Kind.MTLS]
    same, other = connection.execute(text(_HERE), key_values(key)).one()
    return Evidence(
        failures=sum(row[1] for row in counted),
        clients=tuple(row[0] for row in counted),
        strangers=len(rows) - len(counted),
        first=min((row[2] for row in counted), default=0.0),
        last=max((row[3] for row in counted), default=0.0),
        causes={row[0]: row[1] for row in connection.execute(text(_CAUSES), values)},
        user_agents=tuple(row[0] for row in connection.execute(text(_AGENTS), key_values(key) | {"since": since})),
        accepted_here=same,
        others_here=other,
        program_hosts=connection.execute(text(_ELSEWHERE), key_values(key)).scalar_one() if key.fingerprint else 0,
    )


def _prune(connection: Connection, now: float) -> None:
    before = {"before": now - MEMORY}
    connection.execute(text("DELETE FROM tls_refusals WHERE created_at < :before"), before)
    connection.execute(text("DELETE FROM tls_acceptances WHERE seen_at < :before"), before)
    keep_most_recent(connection, "tls_acceptances", "tenant_id, client", "seen_at", HOSTS_PER_CLIENT)
    keep_fair_share(connection, "tls_refusals", "created_at", REFUSALS)
    keep_fair_share(connection, "tls_acceptances", "seen_at", ACCEPTANCES)
