"""Which samples of the ledger are to be judged again, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, text

from appliance.domain.retro import Finding
from appliance.storage.retro import mark
from appliance.storage.sqlite import SqliteStore

_STALE: Final = text(
    "SELECT sha256, sample, coalesce((SELECT url FROM retro_flows AS flow WHERE flow.tenant_id = body.tenant_id "
    "AND flow.sha256 = body.sha256 ORDER BY at DESC LIMIT 1), '') FROM retro_bodies AS body WHERE tenant_id = :tenant "
    "AND sample <> '' AND verdict <> 'bad' AND judged_at < :since AND tried_at < :before "
    "ORDER BY tried_at, judged_at LIMIT :most"
)
_JUDGED: Final = text(
    "UPDATE retro_bodies SET judged_at = max(judged_at, :at), engine = CASE :engine WHEN '' THEN engine ELSE :engine END, "
    "istag = CASE :istag WHEN '' THEN istag ELSE :istag END, "
    "verdict = CASE verdict WHEN 'unscanned' THEN 'clean' ELSE verdict END WHERE tenant_id = :tenant AND sha256 = :sha256"
)
_TRIED: Final = text("UPDATE retro_bodies SET tried_at = :at WHERE tenant_id = :tenant AND sha256 = :sha256")
_LOST: Final = text(
    "UPDATE retro_bodies SET sample = '' WHERE tenant_id = :tenant AND sample <> '' AND sample IN :samples"
).bindparams(bindparam("samples", expanding=True))
_PACKED: Final = text(
    "SELECT sha256, sample FROM retro_bodies WHERE tenant_id = :tenant AND sample <> '' AND plain = '' "
    "AND limits LIKE '%packed%' LIMIT :most"
)
_INSIDE: Final = text("UPDATE retro_bodies SET plain = :plain WHERE tenant_id = :tenant AND sha256 = :sha256")
_COUNT: Final = text("UPDATE retro_hunts SET judged = judged + 1, found = found + :found WHERE tenant_id = :tenant")
_RECALLED: Final = text(
    # asked every second: by itself, SQLite goes through all bodies, which saves it from sorting the few that are bad
    "SELECT sha256, max(found_at) FROM retro_bodies INDEXED BY idx_retro_bad WHERE verdict = 'bad' AND found_at > :after "
    "GROUP BY sha256 "
    "ORDER BY 2 DESC LIMIT :most"
)


@dataclass(frozen=True, slots=True)
class Stale:
    """``sample``: the id of its copy; ``url``: by which it was delivered last, masked."""

    sha256: str
    sample: str
    url: str


class RetroSamples:
    """All of it may block, and raises StoreError."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def stale(self, tenant: str, since: float, before: float, most: int) -> list[Stale]:
        """Samples whose last verdict is older than ``since``, and that were not tried after ``before``."""
        asked = {"tenant": tenant, "since": since, "before": before, "most": most}
        with self._store.reading() as connection:
            return [Stale(*row) for row in connection.execute(_STALE, asked)]

    def judged(self, tenant: str, sha256: str, at: float, engine: str, istag: str) -> None:
        """It is not known to be bad, as of ``at``."""
        values = {"tenant": tenant, "sha256": sha256, "at": at, "engine": engine, "istag": istag}
        with self._store.writing() as connection:
            connection.execute(_JUDGED, values)
            connection.execute(_COUNT, {"tenant": tenant, "found": 0})

    def bad(self, finding: Finding) -> None:
        with self._store.writing() as connection:
            number = mark(connection, [finding])
            connection.execute(_COUNT, {"tenant": finding.tenant, "found": number})

    def tried(self, tenant: str, sha256: str, at: float) -> None:
        """It could not be judged: others come first."""
        with self._store.writing() as connection:
            connection.execute(_TRIED, {"tenant": tenant, "sha256": sha256, "at": at})

    def lost(self, tenant: str, samples: Sequence[str]) -> None:
        """There are no such copies any more."""
        if samples:
            with self._store.writing() as connection:
                connection.execute(_LOST, {"tenant": tenant, "samples": list(samples)})

    def packed(self, tenant: str, most: int) -> list[Stale]:
        """Samples in gzip of which it is not known what is inside."""
        with self._store.reading() as connection:
            found = connection.execute(_PACKED, {"tenant": tenant, "most": most}).all()
        return [Stale(sha256, sample, "") for sha256, sample in found]

    def inside(self, tenant: str, sha256: str, plain: str) -> None:
        """The hash of what is packed; ``-``: it cannot be known."""
        with self._store.writing() as connection:
            connection.execute(_INSIDE, {"tenant": tenant, "sha256": sha256, "plain": plain})

    def recalled(self, after: float, most: int) -> dict[str, float]:
        """What was found after a moment, of any tenant: when, by hash; the newest."""
        with self._store.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(_RECALLED, {"after": after, "most": most})}
