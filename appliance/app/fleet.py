"""All processes of the appliance: which ones a configuration asks for, and how those of a new one take over."""

import asyncio
import logging
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from appliance.app.icap_sockets import process_names
from appliance.app.keys import next_signer_socket, signer_socket
from appliance.app.parts import drain_seconds, worker_count
from appliance.app.paths import StatePaths
from appliance.app.sockets import Bound, Sockets
from appliance.app.standing import KINDS, Standing
from appliance.domain.clock import SystemClock
from appliance.engine.child import Child
from appliance.engine.generation import Ended, Generation
from appliance.engine.supervisor import GRACE, Supervisor
from certs.signing import place
from certs.ticket_keys import SeedHolder

logger = logging.getLogger(__name__)

SIGNER_MARGIN = 2.0
"""Seconds by which a signer outlives the workers that ask it."""
HURRY = 8.0
"""Seconds for the admin process to store what it has read, before another takes its place."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """The kinds of process that were started anew, and those that were not touched."""

    restarted: tuple[str, ...]
    kept: tuple[str, ...]


class Fleet:
    """``stamp``: the code that runs, which children must be of."""

    def __init__(self, paths: StatePaths, environment: Mapping[str, str], stamp: str, ended: Ended) -> None:
        self._paths = paths
        self._stamp = stamp
        self._sockets = Sockets()
        self._seed = SeedHolder(SystemClock())
        """Session tickets of one worker are good in the others, and in those to come, whatever their configuration: what a
        ticket is good for is part of it."""
        self.supervisor = Supervisor(environment, ended)

    @property
    def ready(self) -> bool:
        """Whether every process that serves has come up."""
        return all(generation.ready for generation in list(self.supervisor.current.values()))

    def start(self, standing: Standing) -> None:
        """Bind everything and start everybody, without waiting for them. Raises ConfigError when an address cannot be had."""
        bound = self._sockets.bind(standing.config, worker_count(standing.config))
        bound.listen()
        self._sockets.adopt(bound)
        for kind in standing.kinds:
            generation = self._generation(kind, standing, bound)
            generation.start()
            generation.begin()
            self.supervisor.current[kind] = generation

    async def replace(self, old: Standing, new: Standing) -> Takeover:
        """Have the processes that ``new`` needs take over from those of ``old``.

        Raises:
            ConfigError, NotReady, OSError: everything is as it was.
        """
        bound = self._sockets.bind(new.config, worker_count(new.config))
        current = self.supervisor.current
        kept = tuple(kind for kind in new.kinds if kind in current and old.same_for(kind, new))
        fresh: dict[str, Generation] = {}
        try:
            await self._raise(fresh, [kind for kind in new.kinds if kind not in kept], new, bound)
            bound.listen()
        except BaseException:
            await self._undo(fresh, bound)
            raise
        await self._hand_over(fresh, kept, old)
        self._sockets.adopt(bound)
        return Takeover(tuple(fresh), kept)

    async def _raise(self, fresh: dict[str, Generation], kinds: list[str], new: Standing, bound: Bound) -> None:
        """Bring the new processes up until they say that they are ready; the signer first, for workers ask it as they start."""
        patience = new.config.reload.ready_timeout
        for batch in ([kind for kind in kinds if kind == "signer"], [kind for kind in kinds if kind != "signer"]):
            for kind in batch:
                fresh[kind] = self._generation(kind, new, bound)
                fresh[kind].start()
            await asyncio.gather(*(fresh[kind].arrive(patience) for kind in batch))
            if "signer" in batch:
                place.exchange(self._paths.run)
                fresh["signer"].begin()

    async def _undo(self, fresh: Mapping[str, Generation], bound: Bound) -> None:
        if "signer" in fresh and fresh["signer"].begun:
            place.restore(self._paths.run)
        await asyncio.gather(*(generation.leave(signal.SIGTERM, GRACE) for generation in fresh.values()))
        bound.abandon()

    async def _hand_over(self, fresh: Mapping[str, Generation], kept: tuple[str, ...], old: Standing) -> None:
        """From here on there is no way back."""
        for kind in (kind for kind in KINDS if kind not in kept and kind != "admin"):
            if kind in fresh:
                fresh[kind].begin()
            self._retire(kind, old)
            if kind in fresh:
                self.supervisor.current[kind] = fresh[kind]
        if "admin" not in kept:
            await self._change_admin(fresh.get("admin"), old)

    async def _change_admin(self, admin: Generation | None, old: Standing) -> None:
        """One after the other: two drains of the audit spool would store every record twice. Questions wait in the socket."""
        leaving = self._retire("admin", old)
        if admin is not None:
            self.supervisor.current["admin"] = admin
        if leaving is not None:
            await asyncio.wait((leaving,))
        if admin is not None:
            admin.begin()

    def _retire(self, kind: str, old: Standing) -> asyncio.Task[None] | None:
        times = {"worker": old.config.reload.drain, "signer": old.config.reload.drain + SIGNER_MARGIN, "admin": HURRY}
        return self.supervisor.retire(kind, times.get(kind, drain_seconds(old.config)), drain_seconds(old.config))

    def _generation(self, kind: str, standing: Standing, bound: Bound) -> Generation:
        counts = {"worker": worker_count(standing.config), "icap": len(process_names(standing.config))}
        count = counts.get(kind, 1)
        signer = {"signer": self._signer_socket()} if kind == "signer" else {}
        children = [
            Child(
                kind, index, standing.config, signer or bound.of(kind, index, count),
                secret=self._seed if kind == "worker" else None, stamp=self._stamp,
            )
            for index in range(count)
        ]  # fmt: skip
        return self.supervisor.generation(standing.number, children)

    def _signer_socket(self) -> socket.socket:
        """The parent keeps it, too. Beside processes that run, it gets its name later (``place.exchange``)."""
        return next_signer_socket(self._paths) if self.supervisor.current else signer_socket(self._paths)
