"""What the running appliance says of itself: the same as `/health`, also where there is no admin listener."""

from collections.abc import Iterator

from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.doctor.finding import Finding, fail, ok, warn
from appliance.doctor.ports import is_running
from appliance.domain.clock import Clock
from appliance.telemetry.health import HealthReader, State, notices


def examine(config: AppConfig, clock: Clock | None = None) -> Iterator[Finding]:
    """Nothing while no appliance runs."""
    if not is_running(config):
        return
    health = HealthReader(StatePaths(config.state_dir).run, clock).read()
    finding = fail if health.state is State.UNHEALTHY else warn
    for each in notices(health):
        yield finding("health", each, "the appliance says so itself; its log, and `/health`, have more")
    if health.state is State.OK:
        yield ok("health", "every process is well")
