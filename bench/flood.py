"""100,000 different hosts, one after the other: ``python -O -m bench.flood`` prints one JSON object.

Through a worker's cache and the signer's memory, both of their usual size, without the socket between them: what is looked
for is memory that grows and signing that slows down. ``first_p99_ms`` is of the first 10,000 leaves, ``last_p99_ms`` of the
last, both in CPU time, so that what else the machine does is not in them; ``grown_megabytes`` is what the last 80,000 have
added to ``resident_megabytes``.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.micro import Result, resident
from certs.authority import load_or_create
from certs.cache import LeafCache
from certs.issued import Issued
from certs.mint import Mint, Seat
from certs.profile import LeafProfile
from certs.scope import Scope
from certs.signing.leaf_desk import LeafDesk, leaf_question, read_leaf

HOSTS = 100_000
CACHE = 2_000
TTL = 86_400.0


class _Signer:
    """The signer without its socket."""

    def __init__(self, desk: LeafDesk) -> None:
        self._desk = desk

    async def leaf(self, scope: Scope, profile: LeafProfile) -> Issued:
        return read_leaf(await self._desk.answer(leaf_question(scope, profile)))


def run(folder: Path, hosts: int = HOSTS) -> Result:
    """Forge a leaf for each host."""
    authority = load_or_create(folder, "bench", "Bench CA", "ec-p256", 365)
    desk = LeafDesk(Mint([Seat(authority)]), {authority.fingerprint: TTL})
    cache = LeafCache(authority.public, CACHE, TTL, signer=_Signer(desk))
    figures = asyncio.run(_flood(lambda host: cache.get(LeafProfile.for_host(host)), hosts))
    return figures | {"cached": len(cache), "remembered": len(desk), "remembered_megabytes": desk.held / 1e6}


async def _flood(make: Callable[[str], Awaitable[object]], hosts: int) -> Result:
    times, before = [], 0
    for number in range(hosts):
        if number == hosts // 5:
            before = resident()
        start = time.thread_time()
        await make(f"www.host-{number}.test")
        times.append(time.thread_time() - start)
    tenth, after = hosts // 10, resident()
    return {
        "hosts": hosts,
        "median_ms": statistics.median(times) * 1000,
        "first_p99_ms": _p99(times[:tenth]),
        "last_p99_ms": _p99(times[-tenth:]),
        "grown_megabytes": (after - before) / 1e6,
        "resident_megabytes": after / 1e6,
    }


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98] * 1000


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="arcus-bench-flood-") as folder:
        print(json.dumps(run(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else HOSTS), indent=1))


if __name__ == "__main__":
    main()
