"""Hosts that nobody believes, in small: each of their kinds is refused for its own reason; how the slope is told (TLS-06)."""

from pathlib import Path

import pytest

from bench import hostile


def test_the_slope_is_that_of_the_line_through_the_samples() -> None:
    assert hostile.slope([(1000, 5_000_000), (2000, 5_002_000), (3000, 5_004_000)]) == pytest.approx(2.0)
    assert hostile.slope([(10, 7), (20, 7), (30, 7)]) == 0


@pytest.mark.e2e
@pytest.mark.integration
@pytest.mark.security
def test_tls_01_every_kind_of_hostile_host_is_refused_for_its_own_reason(tmp_path: Path) -> None:
    found = hostile.run(tmp_path, 5 * len(hostile.KINDS))
    assert set(found["answers"].values()) == {5}
    assert len(found["answers"]) == len(hostile.KINDS)
    assert all(answer.startswith("upstream_cert_") for answer in found["answers"])
