"""Samples in a worker, their keys, and their limits in the admin process. Nothing here leads to the database: workers have no
use for it."""

from appliance.app.sample_keys import store
from appliance.config.root import AppConfig
from appliance.domain.clock import Clock
from appliance.domain.quarantine import Keeping, QuarantineError
from appliance.quarantine.retention import surplus
from appliance.quarantine.store import QuarantineStore
from appliance.retro.sampler import Sampler
from appliance.telemetry.metrics import Metrics


def sampler(config: AppConfig, metrics: Metrics) -> Sampler | None:
    """For a worker; None where no tenant keeps any."""

    def count(result: Keeping) -> None:
        metrics.inc("arcus_retro_samples_total", result.value)

    kept, wanted = store(config), config.retro
    if not wanted.enabled or not wanted.samples.tenants:
        return None
    return Sampler({tenant: kept.cabinet(tenant) for tenant in wanted.samples.tenants}, wanted.samples, count)


def prune(kept: QuarantineStore, tenant: str, config: AppConfig, clock: Clock) -> list[str]:
    """Delete what is too old or too much, the oldest first: the ids. Raises OSError and ArcusError; then the rest stays."""
    cabinet = kept.cabinet(tenant)
    cabinet.sweep()
    gone = [stored.id for stored, _ in surplus(cabinet.stored(), config.retro.samples, clock.now())]
    for each in gone:
        try:
            cabinet.remove(each)
        except QuarantineError:
            continue  # it is gone already
    return gone
