"""Prints the feature rows whose tests passed in the last test run; ``--write`` puts the table into docs/features.md."""

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / ".pytest_cache" / "features.json"

HEAD = """# Feature rows with a passing test

Made by `make features` from the names and docstrings of the tests that passed.

"""


def told(test: str) -> str:
    """What a test's name says, as words."""
    name = test.rpartition("::")[2].removeprefix("test_")
    return re.sub(r"^(?:[a-z]+_[cs]?\d\d_)+", "", name).replace("_", " ")


def table(rows: dict[str, list[str]]) -> str:
    lines = ["| row | shown by | what it shows |", "|---|---|---|"]
    for row, tests in rows.items():
        files = ", ".join(f"`{file}`" for file in sorted({test.partition("::")[0] for test in tests}))
        lines.append(f"| {row} | {files} | {'; '.join(sorted({told(test) for test in tests}))} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/features.md")
    parser.add_argument("--json", action="store_true", help="print rows and their tests as JSON")
    options = parser.parse_args()
    if not RESULTS.exists():
        print("features: no test run yet; run `make test` first", file=sys.stderr)
        return 1
    results = json.loads(RESULTS.read_text())
    rows: dict[str, list[str]] = results["rows"]
    if options.json:
        print(json.dumps(results, indent=1))
        return 0
    print(table(rows))
    print(f"{len(rows)} rows have a passing test" + (f"; failing: {', '.join(results['failed'])}" if results["failed"] else ""))
    if options.write:
        (ROOT / "docs" / "features.md").write_text(HEAD + table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
