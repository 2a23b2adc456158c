"""Results of ``bench.scanning`` as Markdown."""

from dataclasses import dataclass, field

from bench.measure import Cell, Pace, Row
from bench.scenarios import REPEATED, SCANNED

_NONE = "–"


@dataclass(slots=True)
class ScanningResults:
    machine: dict[str, str]
    pace: Pace
    rows: dict[str, Row] = field(default_factory=dict)


def markdown(results: ScanningResults) -> str:
    parts = [_head(results), _proxies(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(results: ScanningResults) -> str:
    machine, pace = results.machine, results.pace
    return f"""\
# Scanning, measured

Made by `make bench-icap` on {machine["date"]}; do not edit.

- Machine: {machine["machine"]}. Load generator, proxy, scanner and origin share its cores.
- Versions: {machine["versions"]}.
- Each figure is the median of {pace.rounds} rounds of {pace.seconds} s after {pace.warm_up} s of warm-up, the rounds of all
  contenders in turns. Every contender has a clamd of its own, with one more signature than EICAR, and without clamd's cache.
- *per CPU s*: the same per second of CPU time of all its processes together, ICAP server and clamd included."""


def _proxies(results: ScanningResults) -> str:
    chosen = [scenario for scenario in (*SCANNED, *REPEATED) if scenario.name in results.rows]
    if not chosen:
        return ""
    lines = []
    for scenario in chosen:
        row = results.rows[scenario.name]
        lines.append([f"{scenario.title}, {scenario.unit}", *_cells(row, per_cpu=False)])
        lines.append(["&nbsp;&nbsp;requests per CPU s", *_cells(row, per_cpu=True)])
    header = ["", "squid, c-icap, clamd", "Arcus, every body scanned", "Arcus, verdicts kept", "Arcus / squid", "kept / squid"]
    return f"""\
## Through HTTPS interception, ICAP and clamd

Requests and answers are both scanned. Arcus: 1 worker with its ICAP server's services in it (in_workers); squid asks c-icap.
For 100 KB, squid has a delay pool (class 1, 4,000,000/4,000,000 bytes): without one, this version passes no GET body of 64 KiB
or more through a service that scans before it answers (squid bug 5352). The pool bounds its rate at about 40 of them a second;
what it takes of the CPU is still its own.

{_table(header, lines)}{_failures(results)}"""


def _cells(row: Row, *, per_cpu: bool) -> list[str]:
    squid, arcus, kept = row.get("squid_icap") or row.get("squid_delay"), row.get("arcus_icap"), row.get("arcus_kept")
    return [
        *(_figure(cell, per_cpu) for cell in (squid, arcus, kept)),
        _ratio(arcus, squid, per_cpu),
        _ratio(kept, squid, per_cpu),
    ]


def _figure(cell: Cell | None, per_cpu: bool) -> str:
    if cell is None:
        return _NONE
    value = cell.per_cpu if per_cpu else cell.value
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _ratio(ours: Cell | None, theirs: Cell | None, per_cpu: bool) -> str:
    if ours is None or theirs is None:
        return _NONE
    one, other = (ours.per_cpu, theirs.per_cpu) if per_cpu else (ours.value, theirs.value)
    return f"{one / other:.2f}" if other else _NONE


def _table(header: list[str], lines: list[list[str]]) -> str:
    rows = [header, ["---", *["---:"] * (len(header) - 1)], *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _failures(results: ScanningResults) -> str:
    """Figures with failed requests in them are no figures: say so under the table."""
    told = [
        f"- **{scenario.title}, {name}: {cell.failed} requests failed**"
        for scenario in (*SCANNED, *REPEATED)
        for name, cell in results.rows.get(scenario.name, {}).items()
        if cell.failed
    ]
    return "\n\n" + "\n".join(told) if told else ""
