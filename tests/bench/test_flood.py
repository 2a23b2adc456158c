"""The flood of hosts, in small: its figures, and that the bounds it shows are bounds (TLS-06)."""

from pathlib import Path

from bench import flood


def test_tls_06_the_flood_stays_within_the_bounds(tmp_path: Path) -> None:
    figures = flood.run(tmp_path, flood.CACHE + 500)
    assert (figures["hosts"], figures["cached"], figures["remembered"]) == (2500, flood.CACHE, 2500)
    assert figures["remembered_megabytes"] < 2500 * 0.0012
    assert {"first_p99_ms", "last_p99_ms", "grown_megabytes", "resident_megabytes"} <= set(figures)
