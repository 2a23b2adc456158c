"""Results as Markdown tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.measure import IDLE, Cell, Idle, Pace, Row
from bench.processes import Usage
from bench.scenarios import PLAIN, SCANNED, Scenario

_TITLES = {
    "direct": "no proxy", "mitmdump": "mitmdump", "squid": "squid", "arcus_1": "Arcus, 1 worker",
    "arcus_2": "Arcus, 2 workers", "arcus_fresh": "Arcus, 1 worker, nothing kept",
    "squid_icap": "squid, c-icap, clamd", "arcus_icap": "Arcus, clamd",
}  # fmt: skip
_ORDER = ("direct", "mitmdump", "squid", "arcus_1", "arcus_2", "arcus_fresh")
_RATIOS = (("arcus_1", "mitmdump"), ("arcus_2", "arcus_1"), ("arcus_1", "squid"), ("arcus_fresh", "mitmdump"))
_SHORT = {
    "arcus_1": "Arcus 1", "arcus_2": "Arcus 2", "arcus_fresh": "Arcus 1, nothing kept,",
    "mitmdump": "mitmdump", "squid": "squid",
}  # fmt: skip
_NONE = "–"
_WITHOUT = """\
## Without scanning

Tenant, policies and audit log on; no ICAP. mitmdump with its own defaults; squid with ssl-bump, one process, an access log.
Where clients make a new connection for each request, Arcus goes on with what the same client left at the server
(`kept_connections`); mitmdump makes a new connection to the server each time, as Arcus does with that setting off (*nothing
kept*).

"""
_WITH = """\
## With scanning

Every request and every answer goes to the ICAP service, every body through clamd (its cache is off, the bodies are random
and differ). Arcus: 1 worker, which is its own ICAP server (`in_workers`). CPU time includes c-icap's and clamd's. squid has
no 100 KB row: this version passes no GET body of 64 KiB or more through ICAP without a delay pool (squid bug 5352), and with
one, each takes about two seconds.

"""


@dataclass(slots=True)
class Results:
    machine: dict[str, str]
    pace: Pace
    rows: dict[str, Row] = field(default_factory=dict)
    idle: dict[str, Idle] = field(default_factory=dict)
    peak: dict[str, Usage] = field(default_factory=dict)
    micro: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def markdown(results: Results) -> str:
    parts = [_head(results)]
    if any(scenario.name in results.rows for scenario in PLAIN) or results.idle or results.peak:
        parts.append(_plain(results))
    if any(scenario.name in results.rows for scenario in SCANNED):
        parts.append(_scanned(results))
    if results.micro:
        parts.append(_micro(results.micro))
    if results.notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in results.notes))
    return "\n\n".join(parts) + "\n"


def as_data(results: Results) -> dict[str, object]:
    """Everything, each sample included, for a program."""
    rows = {
        name: {
            contender: {
                "value": cell.value, "per_cpu_second": cell.per_cpu, "cores": cell.busy, "failed": cell.failed,
                "samples": [sample.value for sample in cell.samples],
            }
            for contender, cell in row.items()
        }
        for name, row in results.rows.items()
    }  # fmt: skip
    idle = {
        name: {"resident": each.resident, "share": each.share, "empty": each.empty.share} for name, each in results.idle.items()
    }
    peak = {name: {"peak": each.peak, "share": each.share, "processes": each.processes} for name, each in results.peak.items()}
    return {
        "machine": results.machine,
        "rows": rows,
        "idle": idle,
        "peak": peak,
        "micro": results.micro,
        "notes": results.notes,
    }


def _head(results: Results) -> str:
    machine, pace = results.machine, results.pace
    return f"""\
# Measurements

Made by `make bench` on {machine["date"]}; do not edit.

- Machine: {machine["machine"]}. Load generator, proxy and origin share its cores.
- Versions: {machine["versions"]}.
- Each figure is the median of {pace.rounds} rounds of {pace.seconds} s after {pace.warm_up} s of warm-up; the rounds of
  all contenders are interleaved.
- Transparent mode: client and gateway are two network namespaces, nftables redirects to the proxy, nginx is the origin;
  TLS on both sides.
- *per CPU s*: the same amount per second of CPU time that all processes of the proxy used together, the pages' and audit
  process included. The load generator's share of the machine does not distort it."""


def _plain(results: Results) -> str:
    header = ["", *(_TITLES[name] for name in _ORDER), *(f"{_SHORT[a]} / {_SHORT[b]}" for a, b in _RATIOS)]
    lines: list[list[str]] = []
    for scenario in PLAIN:
        if (row := results.rows.get(scenario.name)) is not None:
            lines.append(_line(f"{scenario.title}, {scenario.unit}", row, lambda cell: cell.value))
            unit = "MB" if scenario.unit == "MB/s" else "requests"
            lines.append(_line(f"&nbsp;&nbsp;{unit} per CPU s", row, lambda cell: cell.per_cpu))
    lines += _memory(results)
    return _WITHOUT + _table(header, lines) + _failures(results, PLAIN)


def _memory(results: Results) -> list[list[str]]:
    lines = []
    if results.idle:
        share = {name: each.share / 1e6 for name, each in results.idle.items()}
        lines.append(_numbers(f"memory per {IDLE:,} idle connections, MB", share))
        lines.append(
            _numbers("memory before them (PSS), MB", {name: each.empty.share / 1e6 for name, each in results.idle.items()})
        )
    if results.peak:
        lines.append(
            _numbers("peak RSS after all of the above, sum over processes (VmHWM), MB", _megabytes(results.peak, "peak"))
        )
        lines.append(_numbers("memory at that time, shared pages once (PSS), MB", _megabytes(results.peak, "share")))
    return lines


def _megabytes(usages: Mapping[str, Usage], what: str) -> dict[str, float]:
    return {name: getattr(usage, what) / 1e6 for name, usage in usages.items()}


def _scanned(results: Results) -> str:
    lines = []
    for scenario in SCANNED:
        if (row := results.rows.get(scenario.name)) is not None:
            for title, pick in ((f"{scenario.title}, {scenario.unit}", _value), ("&nbsp;&nbsp;requests per CPU s", _per_cpu)):
                arcus, squid = row.get("arcus_icap"), row.get("squid_icap")
                cells = [_number(pick(cell)) if cell else "n/a" for cell in (squid, arcus)]
                lines.append([title, *cells, f"{pick(arcus) / pick(squid):.2f}" if arcus and squid else _NONE])
    header = ["", _TITLES["squid_icap"], _TITLES["arcus_icap"], "Arcus / squid"]
    return _WITH + _table(header, lines) + _failures(results, SCANNED)


def _value(cell: Cell) -> float:
    return cell.value


def _per_cpu(cell: Cell) -> float:
    return cell.per_cpu


def _micro(micro: Mapping[str, Mapping[str, float]]) -> str:
    titles = {
        "leaf": "leaf for a new host, with its TLS context, Arcus",
        "leaf-mitmproxy": "leaf for a new host, without a TLS context, mitmproxy",
        "audit": "audit record, made and written",
    }
    lines = []
    for name, figures in micro.items():
        more = f"{figures['megabytes']:.0f} MB for {figures['hosts']:,.0f} hosts" if name == "leaf" else ""
        more = f"{figures['bytes']:,.0f} bytes each" if name == "audit" else more
        lines.append([titles[name], f"{figures['median_us'] / 1000:.3f}", f"{figures['p99_us'] / 1000:.3f}", more])
    return "## Parts\n\n" + _table(["", "median, ms", "p99, ms", ""], lines)


def _line(title: str, row: Row, pick: Callable[[Cell], float]) -> list[str]:
    return _numbers(title, {name: pick(cell) for name, cell in row.items()})


def _numbers(title: str, values: Mapping[str, float]) -> list[str]:
    cells = [_number(values[name]) if values.get(name) else _NONE for name in _ORDER]
    ratios = [f"{values[a] / values[b]:.2f}" if values.get(a) and values.get(b) else _NONE for a, b in _RATIOS]
    return [title, *cells, *ratios]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _table(header: list[str], lines: list[list[str]]) -> str:
    rows = [header, ["---", *["---:"] * (len(header) - 1)], *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _failures(results: Results, scenarios: tuple[Scenario, ...]) -> str:
    """Figures with failed requests in them are no figures: say so under the table."""
    found = [
        f"{_TITLES[name]}, {scenario.title}: {cell.failed} requests failed"
        for scenario in scenarios
        for name, cell in results.rows.get(scenario.name, {}).items()
        if cell.failed
    ]
    return "\n\n" + "\n".join(f"- **{line}**" for line in found) if found else ""
