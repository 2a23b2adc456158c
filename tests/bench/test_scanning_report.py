"""The tables of ``make bench-icap``: what stands beside what, and failures are told."""

from bench.measure import QUICK, Cell, Sample
from bench.scanning_report import ScanningResults, markdown


def cell(value: float, per_cpu: float, failed: int = 0) -> Cell:
    return Cell([Sample(value, per_cpu, 1.0, failed)])


def test_ratios_are_of_the_same_work_and_failures_are_told() -> None:
    results = ScanningResults({"date": "d", "machine": "m", "versions": "v"}, QUICK)
    results.rows["icap-100k"] = {"squid_delay": cell(40, 100), "arcus_icap": cell(400, 150)}
    results.rows["zipf-1k"] = {"squid_icap": cell(100, 100), "arcus_icap": cell(90, 90), "arcus_kept": cell(300, 250, 2)}
    text = markdown(results)
    assert "| &nbsp;&nbsp;requests per CPU s | 100 | 150 | – | 1.50 | – |" in text
    assert "| 1 KB, Zipf over 1,000 objects, req/s | 100 | 90.0 | 300 | 0.90 | 3.00 |" in text
    assert "Zipf over 1,000 objects, arcus_kept: 2 requests failed" in text


def test_what_was_not_measured_has_no_table() -> None:
    results = ScanningResults({"date": "d", "machine": "m", "versions": "v"}, QUICK)
    assert "|" not in markdown(results)
