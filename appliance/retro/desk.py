"""What people ask the ledger, and the hunts that they begin."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from appliance.domain.act import Act, Actor
from appliance.domain.clock import Clock
from appliance.domain.ids import new_task_id
from appliance.domain.retro import Body, RetroError, Status, digest
from appliance.storage.retro import RetroLedger
from appliance.storage.retro_search import RetroSearch

MAX_HASHES: Final = 10_000
"""In one question."""

type Tell = Callable[[Iterable[Act]], None]
"""Puts acts into the audit stream; raises OSError or ArcusError."""


class RetroDesk:
    """All of it may block, and raises RetroError for what may not be or is not there, and StoreError. ``tenant`` None: of all
    tenants. A body is found by its tenant and hash: with a tenant given, nobody gets to what another one has."""

    def __init__(
        self,
        ledger: RetroLedger,
        search: RetroSearch,
        tenants: Sequence[str],
        tell: Tell,
        clock: Clock,
        *,
        enabled: bool = True,
    ) -> None:
        self._ledger = ledger
        self._search = search
        self._tenants = tuple(tenants)
        self._tell = tell
        self._clock = clock
        self._enabled = enabled

    def found(self, tenant: str | None = None) -> list[Body]:
        """Bodies that were delivered and are bad, what was found last first; without flows."""
        return self._known(self._search.found(tenant), tenant)

    def bodies(self, sha256: str, tenant: str | None = None) -> list[Body]:
        """What is known of a hash: of each tenant one, with flows. Never empty."""
        found = self._search.bodies([digest(sha256)], tenant)
        if not found:
            raise RetroError("nothing of this hash was delivered, as far as is known", "docs/retro.md says what is known")
        return found

    def hunt(self, hashes: Sequence[str], tenant: str | None = None) -> list[Body]:
        """What is known of any of these hashes, with flows: nothing is judged, and nothing is told."""
        if len(hashes) > MAX_HASHES:
            raise RetroError(f"more than {MAX_HASHES} hashes", "put them into a file, and name it under retro.hashes")
        return self._known(self._search.bodies(dict.fromkeys(map(digest, hashes)), tenant), tenant)

    def status(self, tenant: str | None = None) -> list[Status]:
        return [self._search.status(name, self._ledger.hunt(name)) for name in self._those(tenant)]

    def run(self, tenant: str | None, actor: Actor) -> list[Status]:
        """Have everything judged again, from the start. It stands in the audit stream before it begins."""
        if not self._enabled:
            raise RetroError("retro.enabled is false", "nothing would be judged")
        now, names = self._clock.now(), self._those(tenant)
        self._tell([Act(new_task_id(), now, name, actor, "retro", name, "begun") for name in names])
        for name in names:
            self._ledger.change(name, cause="asked", started_at=now, ended_at=0.0, position="", since=now, judged=0, found=0)
        return self.status(tenant)

    def _known(self, found: list[Body], tenant: str | None) -> list[Body]:
        """A tenant that is configured no more has what is left of it; a misspelt one is no good news."""
        if not found:
            self._those(tenant)
        return found

    def _those(self, tenant: str | None) -> tuple[str, ...]:
        if tenant is None:
            return self._tenants
        if tenant not in self._tenants:
            raise RetroError(f"there is no tenant {tenant[:64]!r}", f"there are: {', '.join(self._tenants)}")
        return (tenant,)
