"""C17: health warns before a client certificate ends."""

from pathlib import Path
from typing import Any

import pytest

from appliance.app.client_certificates import WARN_SECONDS, sample
from appliance.telemetry.health import HealthWriter
from certs.client_identity import ClientIdentity

NOW = 1_760_000_000.0


class Told(HealthWriter):
    def __init__(self) -> None:
        self.said: dict[str, tuple[str, str]] = {}

    def set(self, component: str, state: Any, detail: str = "") -> None:
        self.said[component] = (state.value, detail)


@pytest.mark.parametrize(
    ("left", "state", "detail"),
    [
        (WARN_SECONDS, "ok", ""),
        (WARN_SECONDS - 1, "degraded", "ends in 14 days"),
        (1.0, "degraded", "ends in 0 days"),
        (0.0, "degraded", "has ended"),
    ],
)
def test_c17_the_end_is_told_two_weeks_before(tmp_path: Path, left: float, state: str, detail: str) -> None:
    told = Told()
    sample([ClientIdentity("gateway", "ab", NOW + left, (), None)], told, NOW)  # type: ignore[arg-type]
    assert told.said == {"client certificate gateway": (state, detail)}
