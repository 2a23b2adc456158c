"""A new configuration takes the place of the one that runs, or does not and says why: never something between."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.app.fleet import Fleet
from appliance.app.paths import StatePaths
from appliance.app.preparation import digest
from appliance.app.standing import Standing, authorities
from appliance.config.load import Loaded
from appliance.config.places import located
from appliance.config.plan import compare
from appliance.config.root import AppConfig
from appliance.control import token
from appliance.domain.clock import Clock
from appliance.domain.errors import ArcusError, ConfigError, Problem
from appliance.telemetry.health import HealthWriter, State
from appliance.telemetry.logs import configure
from appliance.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

BUSY = "another reload is under way; try again when it has ended"
SHOWN = 3
"""Problems that health tells of."""

type Prepare = Callable[[Path], Awaitable[Loaded]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one reload. ``problems`` are empty when it was done; ``generation`` serves now, either way."""

    generation: int
    at: float
    """Seconds since the epoch."""
    changes: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


class Reloader:
    """One reload at a time. ``standing`` is what runs; ``prepare`` reads and checks a file, apart from this process."""

    def __init__(
        self, standing: Standing, fleet: Fleet, prepare: Prepare, metrics: Metrics, health: HealthWriter, clock: Clock
    ) -> None:
        self.standing = standing
        self.last: Outcome | None = None
        """How the last one ended."""
        self._fleet = fleet
        self._prepare = prepare
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._work: asyncio.Task[Outcome] | None = None
        self._again = False
        self._following: asyncio.Task[None] | None = None
        self._tell(standing)

    @property
    def busy(self) -> bool:
        return self._work is not None and not self._work.done()

    async def reload(self, file: Path | None, actor: str) -> Outcome:
        """Load ``file``, or again the one that runs. Failures are in the outcome; ``actor`` is for the log."""
        if self.busy:
            self._metrics.inc("arcus_config_reloads_total", "busy")
            return self._failed([Problem(BUSY)])
        self._work = asyncio.create_task(self._whole(file or self.standing.file, actor))
        return await asyncio.shield(self._work)

    def hang_up(self) -> None:
        """SIGHUP came. One that comes during a reload may tell of a later change, so another one follows."""
        self._again = True
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Take back what is under way."""
        works = [work for work in (self._following, self._work) if work is not None]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    async def _follow(self) -> None:
        while self._again:
            while self._work is not None and self.busy:
                await asyncio.wait((self._work,))
            self._again = False
            await self.reload(None, "signal")

    async def _whole(self, file: Path, actor: str) -> Outcome:
        outcome = await self._outcome(file)
        self._note(outcome, actor)
        return outcome

    async def _outcome(self, file: Path) -> Outcome:
        try:
            return await self._take_over(await self._prepare(file), file)
        except ConfigError as error:
            return self._failed(error.problems)
        except (ArcusError, OSError) as error:
            return self._failed([Problem(str(error))])
        except Exception as error:
            logger.exception("a reload failed")
            return self._failed([Problem(f"{type(error).__name__}: the log says more")])

    async def _take_over(self, loaded: Loaded, file: Path) -> Outcome:
        old = self.standing
        plan = compare(old.declared, loaded.config)
        try:
            if plan.restart:
                fixed = [Problem("takes effect at a start only: restart Arcus", each.path) for each in plan.restart]
                raise ConfigError(fixed)
            new = Standing(
                loaded.config, _as_found(loaded.config, old), file, digest(loaded), old.number + 1, self._clock.now(),
                authorities(loaded.config),
            )  # fmt: skip
            new_token = token.ensure(StatePaths(new.config.state_dir).admin_token) if new.config.admin else None
            takeover = await self._fleet.replace(old, new)
        except ConfigError as error:
            raise ConfigError(located(error.problems, loaded.text, str(file))) from error
        self.standing = new
        configure(new.config.log.level, new.config.log.target)
        self._tell(new)
        changes = [str(change) for change in plan.changes]
        changes += ["changed CAs on disk"] if old.authorities != new.authorities and "ca" not in plan.sections() else []
        warnings = [str(warning) for warning in loaded.warnings]
        warnings += [f"the admin token, shown once: {new_token}"] if new_token else []
        return Outcome(new.number, new.since, tuple(changes), takeover.restarted, takeover.kept, tuple(warnings))

    def _failed(self, problems: list[Problem]) -> Outcome:
        return Outcome(self.standing.number, self._clock.now(), problems=tuple(problems))

    def _tell(self, standing: Standing) -> None:
        self._metrics.set("arcus_config_loaded_timestamp_seconds", value=standing.since)
        self._metrics.set("arcus_config_generation", value=standing.number)

    def _note(self, outcome: Outcome, actor: str) -> None:
        self.last = outcome
        self._metrics.inc("arcus_config_reloads_total", "ok" if outcome.ok else "failed")
        told = {"actor": actor, "generation": outcome.generation, "file": str(self.standing.file)}
        if outcome.ok:
            changed = {"changes": list(outcome.changes), "sha256": self.standing.sha256}
            logger.info("configuration reloaded", extra=told | changed)
            self._set(State.OK, "")
            return
        problems = [str(problem) for problem in outcome.problems]
        logger.error("configuration not reloaded; the one before stays", extra=told | {"problems": problems})
        self._set(State.DEGRADED, f"the last reload failed: {'; '.join(problems[:SHOWN])}")

    def _set(self, state: State, detail: str) -> None:
        try:
            self._health.set("configuration", state, detail)
        except OSError as error:
            logger.error("health cannot be written: %s", error)


def _as_found(config: AppConfig, old: Standing) -> AppConfig:
    """A clamd of our own stays the one that the start has found or made (``config.plan`` sees to it that it is asked for
    still)."""
    icap, declared, running = config.icap_server, old.declared.icap_server, old.config.icap_server
    if icap is None or declared is None or running is None or running.clamd is None or icap.clamd != declared.clamd:
        return config
    return config.model_copy(update={"icap_server": icap.with_clamd(running.clamd)})
