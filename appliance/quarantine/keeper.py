"""The workers' side: infected bodies are put away in a thread, and no answer waits for it."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import BinaryIO, Final

from appliance.config.quarantine import Quarantine
from appliance.domain.act import Act, Actor
from appliance.domain.errors import ArcusError
from appliance.domain.ids import new_task_id
from appliance.domain.quarantine import Item, Keeping
from appliance.quarantine.cabinet import Cabinet

logger = logging.getLogger(__name__)

MAX_PENDING: Final = 4
"""Bodies that wait for the disk."""
ITSELF: Final = Actor("quarantine")

type Tell = Callable[[Iterable[Act]], None]
"""Puts acts into the audit stream; may block; raises OSError or ArcusError."""
type Take = Callable[[str, int, Callable[[], tuple[Item, BinaryIO]]], str]
"""See ``Keeper.take``."""


class Keeper:
    """Use within one event loop. ``count`` is told what became of each body."""

    def __init__(
        self, cabinets: Mapping[str, Cabinet], limits: Quarantine, tell: Tell, count: Callable[[Keeping], None]
    ) -> None:
        self._cabinets = cabinets
        self._limits = limits
        self._tell = tell
        self._count = count
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="quarantine")
        self._pending: set[asyncio.Future[Keeping]] = set()

    def take(self, tenant: str, size: int, make: Callable[[], tuple[Item, BinaryIO]]) -> str:
        """Put away what ``make`` gives, a copy for another thread; it is asked only when the body can be taken.

        What to write into the audit record: the id under which it will be found, ``not kept: WORD``, or nothing where the
        tenant has no quarantine. When writing fails later, an audit event says so.
        """
        cabinet = self._cabinets.get(tenant)
        if cabinet is None or not size:
            return ""
        if size > self._limits.max_size:
            return self.refuse(tenant, Keeping.TOO_LARGE)
        if len(self._pending) >= MAX_PENDING:
            return self.refuse(tenant, Keeping.BUSY)
        try:
            made, source = make()
        except OSError:
            return self.refuse(tenant, Keeping.FAILED)
        item = replace(made, id=cabinet.name_of(made.sha256))
        work = asyncio.get_running_loop().run_in_executor(self._executor, self._keep, cabinet, item, source)
        self._pending.add(work)
        work.add_done_callback(self._done)
        return item.id

    def refuse(self, tenant: str, why: Keeping) -> str:
        """For the audit record of a body that is not kept; nothing where the tenant has no quarantine."""
        if tenant not in self._cabinets:
            return ""
        self._count(why)
        return f"not kept: {why.value}"

    async def close(self) -> None:
        """Let go when what is under way has been written."""
        await asyncio.gather(*self._pending, return_exceptions=True)
        self._executor.shutdown(wait=False)

    def _done(self, work: "asyncio.Future[Keeping]") -> None:
        self._pending.discard(work)
        if not work.cancelled():
            self._count(work.result() if work.exception() is None else Keeping.FAILED)

    def _keep(self, cabinet: Cabinet, item: Item, source: BinaryIO) -> Keeping:
        """In the thread."""
        try:
            with source:
                done = cabinet.keep(item, source, self._limits)
            failed = f"not kept: {done.value}" if done is Keeping.FULL else ""
        except (OSError, ArcusError) as error:
            done, failed = Keeping.FAILED, f"not kept: {error}"
        if failed:
            logger.error("an infected body is not in the quarantine", extra={"task": item.task, "error": failed})
            self._tell_of(item, failed)
        return done

    def _tell_of(self, item: Item, failed: str) -> None:
        act = Act(
            new_task_id(), item.at, item.tenant, ITSELF, "quarantine", item.id, "kept", item.signature, item.host, failed=failed
        )
        try:
            self._tell([act])
        except (OSError, ArcusError) as error:
            logger.error("the audit stream cannot be told of it", extra={"task": item.task, "error": str(error)})
