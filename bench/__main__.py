"""``python -m bench``: see ``--help``. Exit status: 0 done, 1 failed, 2 something is missing or the usage is wrong."""

import argparse
import json
import signal
import sys
from pathlib import Path

from bench import machine
from bench.measure import FULL, QUICK, say
from bench.processes import BenchError
from bench.report import as_data, markdown
from bench.run import NAMES, run

RESULTS = Path(__file__).with_name("results.md")


def main() -> int:
    options = _options()
    if options.list:
        print("\n".join(f"{name:<15} {title}" for name, title in NAMES.items()))
        return 0
    if lines := machine.missing():
        print("bench: something is missing:", *(f"  {line}" for line in lines), sep="\n", file=sys.stderr)
        return 2
    # so that a plain kill, too, takes the ordinary way out and everything down
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        results = run(set(options.only or NAMES), QUICK if options.quick else FULL)
    except BenchError as error:
        say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        say("bench: interrupted, nothing was written")
        return 1
    text = markdown(results)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(as_data(results), indent=1) + "\n")
    if not options.only:
        RESULTS.write_text(text)
        say(f"bench: written to {RESULTS}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Arcus beside stock mitmdump and squid, on this machine.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--only", action="append", choices=list(NAMES), metavar="NAME",
                        help="only this measurement (may be repeated); results.md is not written")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there as well")
    parser.add_argument("--list", action="store_true", help="the names for --only")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
