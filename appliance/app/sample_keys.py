"""Where samples are, and their keys. The parent needs this before there is telemetry."""

from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.quarantine.store import QuarantineStore
from certs import sealing


def store(config: AppConfig) -> QuarantineStore:
    """Sealed as quarantined bodies are, in folders and with keys of their own."""
    paths = StatePaths(config.state_dir)
    return QuarantineStore(paths.samples, paths.sample_keys, sealing.load)


def make_keys(config: AppConfig) -> None:
    """For the tenants that have none. Raises OSError, and ConfigError for one that is there and cannot be read."""
    kept = store(config)
    if config.retro.samples.tenants:
        # before workers start: what comes to stand in state_dir later, they cannot read
        StatePaths(config.state_dir).samples.mkdir(mode=0o700, parents=True, exist_ok=True)
    for tenant in config.retro.samples.tenants:
        file = kept.key(tenant)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        sealing.ensure(file)
        sealing.load(file)
