"""An authority and a clock for the addons of TLS."""

import time

import pytest

from appliance.domain.clock import ManualClock
from certs.authority import Authority, load_or_create


@pytest.fixture
def clock() -> ManualClock:
    """At the system's time: real clients check what is signed."""
    return ManualClock(time.time())


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return load_or_create(tmp_path_factory.mktemp("ca"), "main", "Arcus Test CA")
