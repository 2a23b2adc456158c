"""The table of docs/metrics.md, put in its place: `python -m appliance.telemetry.reference docs/metrics.md`."""

import re
import sys
from pathlib import Path

from appliance.telemetry.catalogue import markdown


def renewed(page: str) -> str:
    """The page with a new table. Raises ValueError when it has none."""
    table = re.compile(r"^\| metric \|.*\n(?:\|.*\n)*", re.MULTILINE)
    if not table.search(page):
        raise ValueError("no table that begins with | metric |")
    return table.sub(lambda _: markdown(), page, count=1)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(renewed(target.read_text(encoding="utf-8")), encoding="utf-8")
