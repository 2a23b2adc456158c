"""``python -m bench.scanning``: scanning beside squid with c-icap and clamd. See ``--help``."""

import contextlib
import sys
from collections.abc import Iterator, Set
from pathlib import Path

from bench import contenders, machine
from bench.contenders import Contender, Site
from bench.frame import Bench
from bench.grounds import grounds
from bench.measure import Pace, check, check_scanning, measure, say
from bench.scanners import c_icap, clamd
from bench.scanning_report import ScanningResults, markdown
from bench.scenarios import REPEATED, SCANNED, Scenario
from bench.topology import Topology

_HOSTS = ("squid-icap", "squid-delay", "arcus-icap", "arcus-kept")
_LARGE = frozenset(("icap-100k",))
"""Bodies that squid passes with a delay pool alone."""


def run(chosen: Set[str], pace: Pace) -> ScanningResults:
    results = ScanningResults(machine.describe(), pace)
    with grounds(_HOSTS) as (site, network):
        _proxies(site, network, results, chosen)
    return results


def _proxies(site: Site, network: Topology, results: ScanningResults, chosen: Set[str]) -> None:
    with _racing(site) as racing:
        network.redirect({site.hosts[each.host]: each.port for each in racing.values()})
        for contender in racing.values():
            check(network.client, contender)
            check_scanning(network.client, contender)
        for scenario in (*SCANNED, *REPEATED):
            if scenario.name in chosen:
                say(f"{scenario.name}: {scenario.title}")
                able = [racing[name] for name in _who(scenario)]
                results.rows[scenario.name] = measure(network.client, site.base, scenario, able, results.pace)


def _who(scenario: Scenario) -> tuple[str, ...]:
    squid = "squid_delay" if scenario.name in _LARGE else "squid_icap"
    return (squid, "arcus_icap", "arcus_kept") if scenario in REPEATED else (squid, "arcus_icap")


@contextlib.contextmanager
def _racing(site: Site) -> Iterator[dict[str, Contender]]:
    """Every contender with a clamd of its own, but for the two squids, of which one works at a time."""
    with (
        c_icap(site.base / "squid-scanner", site.gateway) as theirs,
        clamd(site.base / "arcus-scanner", site.gateway) as ours,
        clamd(site.base / "kept-scanner", site.gateway) as kept,
        contenders.squid(site, theirs) as squid,
        contenders.squid(site, theirs, delay_pool=True) as delayed,
        contenders.arcus(site, 1, ours) as arcus,
        contenders.arcus(site, 1, kept, kept=True) as keeping,
    ):
        yield {each.name: each for each in (squid, delayed, arcus, keeping)}


BENCH = Bench(
    "bench.scanning",
    "Scanning beside squid, c-icap and clamd.",
    Path(__file__).with_name("scanning-results.md"),
    {each.name: each.title for each in (*SCANNED, *REPEATED)},
    run,
    markdown,
)

if __name__ == "__main__":
    sys.exit(BENCH.main(sys.argv[1:]))
