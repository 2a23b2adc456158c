"""Questions to the ledger of what was delivered."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, text

from appliance.domain.retro import Body, Flow, Hunt, Limit, Status, Verdict
from appliance.storage.sqlite import SqliteStore

MAX_FLOWS: Final = 1000
"""Flows that are shown of one body."""
_COLUMNS: Final = (
    "tenant_id, sha256, size, first_at, last_at, verdict, limits, service, engine, istag, judged_at, sample, signature, "
    "found_by, found_at, "
    "(SELECT count(*) FROM retro_flows AS flow WHERE flow.tenant_id = body.tenant_id AND flow.sha256 = body.sha256)"
)
_TENANT: Final = "(:everyone OR tenant_id = :tenant)"
_FOUND: Final = text(
    f"SELECT {_COLUMNS} FROM retro_bodies AS body WHERE verdict = 'bad' AND {_TENANT} "  # noqa: S608
    "ORDER BY found_at DESC, sha256 LIMIT :most"
)
_OWNERS: Final = text(
    # from one tenant to the next: their bodies are not gone through
    "WITH RECURSIVE owner(id) AS (SELECT min(tenant_id) FROM retro_bodies "
    "UNION ALL SELECT (SELECT min(tenant_id) FROM retro_bodies WHERE tenant_id > id) FROM owner WHERE id IS NOT NULL) "
    "SELECT id FROM owner WHERE id IS NOT NULL"
)
_ONE: Final = text(
    f"SELECT {_COLUMNS} FROM retro_bodies AS body WHERE tenant_id = :tenant AND sha256 = :sha256 "  # noqa: S608
    "UNION "
    f"SELECT {_COLUMNS} FROM retro_bodies AS body WHERE tenant_id = :tenant AND plain <> '' AND plain = :sha256 "
    "ORDER BY sha256"
)
_FLOWS: Final = text(
    "SELECT task_id, at, side, user_id, client, host, url FROM retro_flows WHERE tenant_id = :tenant AND sha256 = :sha256 "
    "ORDER BY at DESC, task_id DESC LIMIT :most"
)
_NUMBERS: Final = text(
    "SELECT count(*), coalesce(sum(verdict = 'bad'), 0), coalesce(sum(sample <> ''), 0), "
    "coalesce(sum(sample = '' AND verdict <> 'bad'), 0) FROM retro_bodies WHERE tenant_id = :tenant"
)
_LIMITS: Final = text("SELECT limits, count(*) FROM retro_bodies WHERE tenant_id = :tenant AND limits <> '' GROUP BY limits")
_WAITING: Final = text(
    "SELECT count(*), coalesce(sum(tried_at > judged_at), 0) FROM retro_bodies "
    "WHERE tenant_id = :tenant AND sample <> '' AND verdict <> 'bad' AND judged_at < :since"
)


class RetroSearch:
    """All of it may block, and raises StoreError. ``tenant`` None: of all of them."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def found(self, tenant: str | None = None, most: int = 1000) -> list[Body]:
        """Bodies that are bad, what was found last first; without their flows."""
        with self._store.reading() as connection:
            return [_body(row) for row in connection.execute(_FOUND, _whose(tenant) | {"most": most})]

    def bodies(self, hashes: Iterable[str], tenant: str | None = None) -> list[Body]:
        """What is known of some hashes, with flows."""
        with self._store.reading() as connection:
            owners = [tenant] if tenant is not None else [row[0] for row in connection.execute(_OWNERS)]
            return [body for sha256 in hashes for owner in owners for body in _of(connection, sha256, owner)]

    def status(self, tenant: str, hunt: Hunt | None) -> Status:
        asked: dict[str, Any] = {"tenant": tenant, "since": hunt.since if hunt is not None else 0.0}
        with self._store.reading() as connection:
            bodies, bad, samples, without = connection.execute(_NUMBERS, asked).one()
            sql = text("SELECT count(*) FROM retro_flows WHERE tenant_id = :tenant")
            deliveries = connection.execute(sql, asked).scalar_one()
            limits: dict[str, int] = {}
            for words, number in connection.execute(_LIMITS, asked):
                for word in words.split(","):
                    limits[word] = limits.get(word, 0) + number
            waiting, failing = connection.execute(_WAITING, asked).one()
        return Status(tenant, bodies, deliveries, bad, samples, without, waiting, failing, limits, hunt)


def _of(connection: Connection, sha256: str, tenant: str) -> Iterator[Body]:
    for row in connection.execute(_ONE, {"tenant": tenant, "sha256": sha256}).all():
        body = _body(row)
        asked = {"tenant": body.tenant, "sha256": body.sha256, "most": MAX_FLOWS}
        yield replace(body, flows=tuple(Flow(*flow) for flow in connection.execute(_FLOWS, asked)))


def _whose(tenant: str | None) -> dict[str, Any]:
    return {"everyone": tenant is None, "tenant": tenant or ""}


def _body(row: Any) -> Body:
    tenant, sha256, size, first, last, verdict, limits, *rest = row
    words = tuple(Limit(word) for word in limits.split(",") if word)
    return Body(tenant, sha256, size, first, last, Verdict(verdict), words, *rest)
