"""``python -m bench.tls``: every bad server of the tests' table behind Arcus, stock mitmdump and squid, in one run.

A client that believes nothing but a proxy's own CA asks each of them for each server. Right is: the content of a good
server arrives, the content of a bad one does not. See ``--help``.
"""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import machine, tls_contenders
from bench.frame import Bench
from bench.measure import Pace, say
from bench.tls_client_side import probe
from bench.tls_contenders import Proxy
from bench.tls_report import Outcome, Results, markdown
from tests.tlslab.asking import ask
from tests.tlslab.case import Expect, LabCase
from tests.tlslab.serving import Serving, hosts, serving
from tests.tlslab.table import CASES

INSIDE = "BENCH_TLS_INSIDE"
"""Set in the process that has /etc/hosts of its own."""
WIDTH = 4
"""Questions at a time; one proxy after the other."""


def _enter(arguments: Sequence[str]) -> int | None:
    """Again, in a mount namespace whose /etc/hosts knows the servers: stock proxies ask nothing else."""
    if INSIDE in os.environ:
        return None
    with tempfile.NamedTemporaryFile("w", prefix="bench-hosts-") as file:
        file.write("127.0.0.1 localhost\n" + "".join(f"127.0.0.1 {host}\n" for host in hosts(CASES)))
        file.flush()
        Path(file.name).chmod(0o644)
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, file.name, sys.executable, "-m", "bench.tls", *arguments]
        return os.spawnvpe(os.P_WAIT, "unshare", command, os.environ | {INSIDE: "1"})


def run(groups: Set[str], _pace: Pace) -> Results:
    """Every case of these groups at every proxy."""
    cases = [case for case in CASES if case.group in groups]
    results = Results(machine.describe(), cases, {})
    base = Path(tempfile.mkdtemp(prefix="arcus-bench-tls-"))
    base.chmod(0o755)  # squid's own user goes through it
    try:
        with serving(cases, base) as lab:
            lab.roots.chmod(0o644)
            for start in (tls_contenders.arcus, tls_contenders.mitmdump, tls_contenders.squid):
                with start(base, lab.roots, lab.hosts) as proxy:
                    results.outcomes[proxy.name] = _all(proxy, lab)
                    if good := [case for case in cases if case.name == "plain"]:
                        results.client_side[proxy.name] = probe(proxy, good[0], lab.port(good[0]))
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return results


def _all(proxy: Proxy, lab: Serving) -> dict[str, Outcome]:
    began = time.monotonic()
    with ThreadPoolExecutor(WIDTH) as pool:
        found = dict(zip(map(str, lab.cases), pool.map(lambda case: _one(proxy, lab, case), lab.cases), strict=True))
    say(f"{proxy.name}: {sum(each.right for each in found.values())} of {len(found)} in {time.monotonic() - began:.0f} s")
    return found


def _one(proxy: Proxy, lab: Serving, case: LabCase) -> Outcome:
    shown = ask(proxy.port, case, lab.port(case), proxy.ca, strict=False)
    # a client that offers what nobody can finish has still agreed to it
    agreed = case.group == "parameters" and any(seen.went_on for seen in lab.seen[str(case)])
    with contextlib.suppress(KeyError):
        lab.seen[str(case)].clear()
    passed = shown.content or (agreed and case.expect is not Expect.MUST_PASS)
    named = case.cause in shown.words if case.expect is not Expect.MUST_PASS else shown.content
    return Outcome(passed, passed is (case.expect is Expect.MUST_PASS), named, shown.error or f"status {shown.status}")


BENCH = Bench(
    "bench.tls",
    "Bad servers behind Arcus, stock mitmdump and squid.",
    Path(__file__).with_name("tls-results.md"),
    {group: f"{number} servers" for group, number in sorted(Counter(case.group for case in CASES).items())},
    run,
    markdown,
    needs=lambda line: any(word in line for word in ("squid", "certgen", "mitmdump", "root")),
    enter=_enter,
)

if __name__ == "__main__":
    sys.exit(BENCH.main(sys.argv[1:]))
