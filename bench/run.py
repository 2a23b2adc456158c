"""A run: set up what the chosen measurements need, take them, and take everything down again."""

import contextlib
import json
import sys
from collections.abc import Iterator, Set

from bench import contenders, machine, micro
from bench.contenders import Contender, Site
from bench.grounds import grounds
from bench.measure import Pace, check, check_scanning, idle_memory, measure, say
from bench.processes import call
from bench.report import Results
from bench.scanners import c_icap, clamd
from bench.scenarios import PLAIN, SCANNED
from bench.topology import Topology

MICRO = tuple(micro.NAMES)
NAMES = {
    **{scenario.name: scenario.title for scenario in (*PLAIN, *SCANNED)},
    "idle": "memory of idle connections",
    "leaf": "signing for new hosts", "leaf-mitmproxy": "the same by mitmproxy", "audit": "cost of an audit record",
}  # fmt: skip
_HOSTS = ("direct", "mitmdump", "squid", "arcus-1", "arcus-2", "arcus-fresh", "squid-icap", "arcus-icap")


def run(chosen: Set[str], pace: Pace) -> Results:
    results = Results(machine.describe(), pace)
    for name in MICRO:
        if name in chosen:
            say(f"{name}: {NAMES[name]}")
            results.micro[name] = json.loads(call([sys.executable, "-O", "-m", "bench.micro", name], 300))
    if chosen - set(MICRO):
        _over_the_network(chosen, results)
    return results


def _over_the_network(chosen: Set[str], results: Results) -> None:
    with grounds(_HOSTS) as (site, network):
        if "idle" in chosen:
            _idle(site, network, results)
        if chosen & {scenario.name for scenario in PLAIN}:
            _plain(site, network, results, chosen)
        if chosen & {scenario.name for scenario in SCANNED}:
            _scanned(site, network, results, chosen)


def _idle(site: Site, network: Topology, results: Results) -> None:
    say("idle: each contender by itself, just started")
    for start in _PLAIN_CONTENDERS:
        with start(site) as contender:
            _redirect(site, network, [contender])
            check(network.client, contender)
            results.idle[contender.name] = idle_memory(network.client, site.base, contender)


def _plain(site: Site, network: Topology, results: Results, chosen: Set[str]) -> None:
    with contextlib.ExitStack() as stack:
        racing = [stack.enter_context(start(site)) for start in (contenders.direct, *_FRESH)]
        _redirect(site, network, racing)
        for contender in racing:
            check(network.client, contender)
        for scenario in PLAIN:
            if scenario.name in chosen:
                say(f"{scenario.name}: {scenario.title}")
                results.rows[scenario.name] = measure(network.client, site.base, scenario, racing, results.pace)
        results.peak = {contender.name: contender.usage() for contender in racing if contender.programs}


def _scanned(site: Site, network: Topology, results: Results, chosen: Set[str]) -> None:
    with _scanning(site) as (squid, arcus):
        _redirect(site, network, [squid, arcus])
        for contender in (squid, arcus):
            check(network.client, contender)
            check_scanning(network.client, contender)
        for scenario in SCANNED:
            if scenario.name in chosen:
                say(f"{scenario.name}: {scenario.title}")
                racing = [arcus] if scenario.name == "icap-100k" else [squid, arcus]
                results.rows[scenario.name] = measure(network.client, site.base, scenario, racing, results.pace)


@contextlib.contextmanager
def _scanning(site: Site) -> Iterator[tuple[Contender, Contender]]:
    with (
        c_icap(site.base / "squid-scanner", site.gateway) as theirs,
        clamd(site.base / "arcus-scanner", site.gateway) as ours,
        contenders.squid(site, theirs) as squid,
        contenders.arcus(site, 1, ours) as arcus,
    ):
        yield squid, arcus


def _redirect(site: Site, network: Topology, racing: list[Contender]) -> None:
    network.redirect({site.hosts[contender.host]: contender.port for contender in racing if contender.port})


_PLAIN_CONTENDERS = (
    contenders.mitmdump,
    contenders.squid,
    lambda site: contenders.arcus(site, 1),
    lambda site: contenders.arcus(site, 2),
)
_FRESH = (*_PLAIN_CONTENDERS, lambda site: contenders.arcus(site, 1, fresh=True))
"""The last one is for new connections only: it takes memory from no other's rounds."""
