"""One authority of our own for all tests of what it signs."""

from pathlib import Path

import pytest

from appliance.domain.clock import ManualClock
from certs.authority import Authority, load_or_create
from tests.certs.forge_origin import NOW


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW.timestamp())


@pytest.fixture(scope="session")
def ca_directory(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("ca")


@pytest.fixture(scope="session")
def authority(ca_directory) -> Authority:
    """Made at the system's time: real clients check it."""
    return load_or_create(ca_directory, "main", "Arcus Test CA")


@pytest.fixture(scope="session")
def rsa_authority(ca_directory) -> Authority:
    return load_or_create(ca_directory, "rsa", "Arcus Test CA RSA", "rsa-2048")
