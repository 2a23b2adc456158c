"""Sealed samples given to the scanners again, when their signatures have changed: in the background, a few at a time.

What is to be judged again stands in the ledger: a body whose last verdict is older than the change. So nothing is lost when the
process is killed, and nothing is judged twice but what was under way.
"""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from appliance.domain.clock import Clock
from appliance.domain.quarantine import Item, QuarantineError
from appliance.domain.reason import Reason
from appliance.domain.retro import Finding, Hunt
from appliance.domain.verdict import Outcome, ScanVerdict
from appliance.quarantine.cabinet import Cabinet
from appliance.storage.retro_samples import RetroSamples, Stale

logger = logging.getLogger(__name__)

BATCH: Final = 20
RETRY: Final = 60.0
"""Seconds until a body that could not be judged is tried again."""
_JUDGED: Final = frozenset((Outcome.CLEAN, Outcome.MODIFIED, Outcome.BLOCKED))
_MEMBERS: Final = 1000
_MEMBER: Final = 1024
"""Beyond that many members of gzip, they hold so many octets each on average: an empty one costs as much as kilobytes."""
_PIECE: Final = 64 * 1024
_FOUND: Final = frozenset((Reason.MALWARE_FOUND, Reason.ICAP_BLOCKED))


@dataclass(frozen=True, slots=True)
class Sample:
    """A body that was delivered. ``url``: by which it was, the last time."""

    item: Item
    body: bytes
    url: str


class Judge(Protocol):
    """The scanners of a tenant, as its traffic has them."""

    async def judge(self, sample: Sample) -> ScanVerdict | None:
        """Without a verdict of an earlier time. None: the tenant's rules lead such a body to no service any more. Never raises
        for what a service or the network does."""


class Rejudge:
    """Use within one event loop. ``step`` raises StoreError."""

    def __init__(
        self, samples: RetroSamples, cabinet: Callable[[str], Cabinet], judge: Judge, rate: float, clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, told: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """``rate``: bodies in a second, at most. ``told``: of each outcome: clean, bad, failed, lost."""
        self._samples = samples
        self._cabinet = cabinet
        self._judge = judge
        self._pause = 1.0 / rate
        self._clock = clock
        self._sleep = sleep
        self._told = told

    async def step(self, tenant: str, since: float) -> int:
        """Judge what has waited since before ``since``: a batch, up to the first for which no service had a verdict: other
        tenants do not wait for one that is away. How many verdicts there were."""
        before = self._clock.now() - RETRY
        waiting = await asyncio.to_thread(self._samples.stale, tenant, since, before, BATCH)
        judged = 0
        for each in waiting:
            outcome = await self._one(tenant, each)
            judged += outcome in ("clean", "bad")
            await self._sleep(self._pause)
            if outcome == "failed":
                break
        return judged

    async def _one(self, tenant: str, each: Stale) -> str:
        """What came of it; empty: nobody was to be asked."""
        sample = await asyncio.to_thread(self._read, tenant, each)
        if sample is None:
            await asyncio.to_thread(self._samples.lost, tenant, [each.sample])
            self._told("lost")
            return "lost"
        asked = self._clock.now()
        verdict = await self._judge.judge(sample)
        outcome = await asyncio.to_thread(self._note, tenant, each, verdict, asked)
        self._told(outcome)
        return outcome if verdict is not None else ""

    def _read(self, tenant: str, each: Stale) -> Sample | None:
        """None: it is gone, or damaged."""
        try:
            with self._cabinet(tenant).open(each.sample) as opened:
                if opened.item.sha256 != each.sha256:
                    return None
                return Sample(opened.item, b"".join(opened.pieces()), each.url)
        except QuarantineError:
            return None

    def _note(self, tenant: str, each: Stale, verdict: ScanVerdict | None, asked: float) -> str:
        """``asked``: a change of signatures while it was judged makes it wait again."""
        if verdict is None or verdict.outcome not in _JUDGED:
            self._samples.tried(tenant, each.sha256, self._clock.now())
            return "failed"
        if verdict.outcome is Outcome.BLOCKED and verdict.reason in _FOUND:
            signature = verdict.signature or verdict.reason.word
            bad = Finding(tenant, each.sha256, signature, verdict.service[:300], verdict.engine, self._clock.now())
            self._samples.bad(bad)
            return "bad"
        # a rule of today that refuses it, by its type, is no new knowledge of the body
        self._samples.judged(tenant, each.sha256, asked, verdict.engine, verdict.istag)
        return "clean"


def due(hunt: Hunt, now: float, again: float) -> float:
    """Verdicts from before this moment count no more. ``again``: seconds after which each does not; 0: only changes count."""
    return max(hunt.since, now - again if again else 0.0)


def unpacked(data: bytes, most: int) -> bytes | None:
    """What gzip hides, all members; None where it is no gzip, or more than ``most`` octets, or cut into too many members."""
    out, rest, members = bytearray(), memoryview(data), 0
    while rest:
        members += 1
        if members > _MEMBERS + len(out) // _MEMBER:
            return None
        inflater = zlib.decompressobj(wbits=31)
        while rest and not inflater.eof:
            piece = rest[:_PIECE]  # what of it is behind the member is copied each time
            try:
                out += inflater.decompress(piece, most - len(out) + 1)
            except zlib.error:
                return None
            if len(out) > most:
                return None
            rest = rest[len(piece) - len(inflater.unused_data) :]
        if not inflater.eof:
            return None
    return bytes(out)
