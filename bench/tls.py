"""``python -m bench.tls``: every bad server of the tests' table behind Arcus, stock mitmdump and squid, in one run.

A client that believes nothing but a proxy's own CA asks each of them for each server. Right is: the content of a good
server arrives, the content of a bad one does not. See ``--help``. Exit status: 0 done, 1 failed, 2 something is missing.
"""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import machine, tls_contenders
from bench.measure import say
from bench.processes import BenchError
from bench.tls_client_side import probe
from bench.tls_contenders import Proxy
from bench.tls_report import Outcome, Results, markdown
from tests.tlslab.asking import ask
from tests.tlslab.case import Expect, LabCase
from tests.tlslab.serving import Serving, hosts, serving
from tests.tlslab.table import CASES

RESULTS = Path(__file__).with_name("tls-results.md")
INSIDE = "BENCH_TLS_INSIDE"
"""Set in the process that has /etc/hosts of its own."""
WIDTH = 4
"""Questions at a time; one proxy after the other."""


def main() -> int:
    options = _options()
    if lines := [
        line for line in machine.missing() if "squid" in line or "certgen" in line or "mitmdump" in line or "root" in line
    ]:
        print("bench: something is missing:", *(f"  {line}" for line in lines), sep="\n", file=sys.stderr)
        return 2
    if INSIDE not in os.environ:
        return _enter(sys.argv[1:])
    try:
        results = run([case for case in CASES if options.group in ("", case.group)])
    except BenchError as error:
        say(f"bench: {error}")
        return 1
    text = markdown(results)
    print(text)
    if not options.group:
        RESULTS.write_text(text)
        say(f"bench: written to {RESULTS}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.tls", description="Bad servers behind Arcus, stock mitmdump and squid.")
    parser.add_argument("--group", default="", choices=["", *sorted({case.group for case in CASES})], metavar="GROUP",
                        help="only this group of cases; tls-results.md is not written")  # fmt: skip
    return parser.parse_args()


def _enter(arguments: Sequence[str]) -> int:
    """Again, in a mount namespace whose /etc/hosts knows the servers: stock proxies ask nothing else."""
    with tempfile.NamedTemporaryFile("w", prefix="bench-hosts-") as file:
        file.write("127.0.0.1 localhost\n" + "".join(f"127.0.0.1 {host}\n" for host in hosts(CASES)))
        file.flush()
        Path(file.name).chmod(0o644)
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, file.name, sys.executable, "-m", "bench.tls", *arguments]
        return os.spawnvpe(os.P_WAIT, "unshare", command, os.environ | {INSIDE: "1"})


def run(cases: Sequence[LabCase]) -> Results:
    """Every case at every proxy."""
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


if __name__ == "__main__":
    sys.exit(main())
