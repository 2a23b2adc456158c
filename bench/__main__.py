"""``python -m bench``: Arcus beside stock mitmdump and squid. See ``--help``."""

import sys
from pathlib import Path

from bench.frame import Bench
from bench.report import as_data, markdown
from bench.run import NAMES, run

BENCH = Bench(
    "bench",
    "Arcus beside stock mitmdump and squid, on this machine.",
    Path(__file__).with_name("results.md"),
    NAMES,
    run,
    markdown,
    data=as_data,
)

if __name__ == "__main__":
    sys.exit(BENCH.main(sys.argv[1:]))
