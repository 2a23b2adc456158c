"""Medians, ratios and warnings in the tables."""

from bench.measure import QUICK, Cell, Idle, Sample
from bench.processes import Usage
from bench.report import Results, as_data, markdown

MACHINE = {"date": "2026-01-01", "machine": "2 cores", "versions": "Arcus 0"}


def cell(*values: float, failed: int = 0) -> Cell:
    return Cell([Sample(value, value * 2, 0.5, failed) for value in values])


def line(text: str, start: str) -> list[str]:
    found = next(row for row in text.splitlines() if row.startswith(f"| {start}"))
    return [part.strip() for part in found.strip("|").split("|")]


def test_the_median_and_the_ratios() -> None:
    row = {"mitmdump": cell(300, 500, 400), "squid": cell(8000), "arcus_1": cell(900, 1000, 5000), "arcus_2": cell(1500),
        "arcus_fresh": cell(600)}  # fmt: skip
    text = markdown(Results(MACHINE, QUICK, rows={"1k": row}))
    assert line(text, "1 KB, 16")[1:] == ["–", "400", "8,000", "1,000", "1,500", "600", "2.50", "1.50", "0.12", "1.50"]
    assert line(text, "&nbsp;&nbsp;requests per CPU s")[2] == "800"


def test_failed_requests_are_told_under_the_table() -> None:
    text = markdown(Results(MACHINE, QUICK, rows={"h2": {"arcus_1": cell(900, failed=3)}}))
    assert "**Arcus, 1 worker, HTTP/2, 1 KB, 4 connections with 8 streams: 3 requests failed**" in text
    assert "failed" not in markdown(Results(MACHINE, QUICK, rows={"h2": {"arcus_1": cell(900)}}))


def test_scanning_has_its_own_table_and_says_what_is_not_there() -> None:
    rows = {"icap-1k": {"squid_icap": cell(1000), "arcus_icap": cell(500)}, "icap-100k": {"arcus_icap": cell(100)}}
    text = markdown(Results(MACHINE, QUICK, rows=rows))
    assert line(text, "1 KB, every")[1:] == ["1,000", "500", "0.50"]
    assert line(text, "100 KB, every")[1:] == ["n/a", "100", "–"]


def test_memory_and_parts() -> None:
    usage = Usage(cpu=1.0, resident=50_000_000, share=40_000_000, peak=60_000_000, processes=2)
    micro = {"audit": {"median_us": 80.0, "p99_us": 200.0, "bytes": 1900.0}}
    results = Results(MACHINE, QUICK, idle={"squid": Idle(2, 199_000_000, usage)}, peak={"squid": usage}, micro=micro)
    text = markdown(results)
    assert line(text, "memory per 1,000 idle")[3] == "199"
    assert line(text, "peak RSS")[3] == "60.0"
    assert line(text, "audit record")[1:3] == ["0.080", "0.200"]
    assert as_data(results)["idle"] == {"squid": {"resident": 2, "share": 199_000_000, "empty": 40_000_000}}
