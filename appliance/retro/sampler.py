"""The workers' side: sealed copies of bodies that were found clean, made in a thread, and no answer waits for it."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import BinaryIO, Final

from appliance.config.retro import Samples
from appliance.domain.errors import ArcusError
from appliance.domain.quarantine import Item, Keeping
from appliance.quarantine.cabinet import Cabinet

logger = logging.getLogger(__name__)

MAX_PENDING: Final = 8
"""Bodies that wait for the disk."""
REMEMBERED: Final = 20_000
"""Bodies that are known to be kept, so that a repeated one costs nothing."""
MEMORY: Final = 300.0
"""Seconds for which that is believed: a full folder lets go of its oldest."""
_SHARES: Final = 1 << 32


class Sampler:
    """Use within one event loop. ``count`` is told what became of each body that was to be kept."""

    def __init__(
        self,
        cabinets: Mapping[str, Cabinet],
        limits: Samples,
        count: Callable[[Keeping], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cabinets = cabinets
        self._limits = limits
        self._count = count
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self._pending: set[asyncio.Future[Keeping]] = set()
        self._now = now
        self._kept: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def take(self, tenant: str, sha256: str, size: int, media_type: str, make: Callable[[], tuple[Item, BinaryIO]]) -> str:
        """Keep what ``make`` gives, a copy for another thread; it is asked only when the body is to be kept.

        What to write into the audit record: the id under which it will be found, ``not kept: WORD``, or nothing where it is not
        wanted.
        """
        cabinet = self._cabinets.get(tenant)
        if cabinet is None or not size or not sha256 or not self._wanted(sha256, media_type):
            return ""
        if (known := self._kept.get((tenant, sha256))) is not None and self._now() - known[1] < MEMORY:
            return known[0]
        if size > self._limits.max_size:
            return self._refused(Keeping.TOO_LARGE)
        if len(self._pending) >= MAX_PENDING:
            return self._refused(Keeping.BUSY)
        try:
            item, source = make()
        except OSError:
            return self._refused(Keeping.FAILED)
        return self._start(cabinet, replace(item, id=cabinet.name_of(sha256), media_type=media_type), source)

    def _wanted(self, sha256: str, media_type: str) -> bool:
        """By the hash, so that the same body is always in or out."""
        types, share = self._limits.types, self._limits.share
        if types and media_type not in types and f"{media_type.partition('/')[0]}/*" not in types:
            return False
        return share >= 1.0 or int(sha256[:8], 16) < share * _SHARES

    async def close(self) -> None:
        """Let go when what is under way has been written."""
        await asyncio.gather(*self._pending, return_exceptions=True)
        self._executor.shutdown(wait=False)

    def _start(self, cabinet: Cabinet, item: Item, source: BinaryIO) -> str:
        work = asyncio.get_running_loop().run_in_executor(self._executor, self._keep, cabinet, item, source)
        self._pending.add(work)
        work.add_done_callback(self._done)
        self._kept[item.tenant, item.sha256] = item.id, self._now()
        while len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)
        return item.id

    def _refused(self, why: Keeping) -> str:
        self._count(why)
        return f"not kept: {why.value}"

    def _done(self, work: "asyncio.Future[Keeping]") -> None:
        self._pending.discard(work)
        if not work.cancelled():
            self._count(work.result())

    def _keep(self, cabinet: Cabinet, item: Item, source: BinaryIO) -> Keeping:
        """In the thread."""
        try:
            with source:
                done = cabinet.keep(item, source, self._limits)
        except (OSError, ArcusError) as error:
            logger.error("a sample cannot be kept", extra={"task": item.task, "error": str(error)})
            done = Keeping.FAILED
        if done not in (Keeping.KEPT, Keeping.AGAIN):
            self._kept.pop((item.tenant, item.sha256), None)
        return done
