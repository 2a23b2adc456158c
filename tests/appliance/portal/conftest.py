"""Two authorities, made once."""

import pytest

from certs.authority import Authority, load_or_create


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return load_or_create(tmp_path_factory.mktemp("ca"), "first", "First <CA>")


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return load_or_create(tmp_path_factory.mktemp("ca"), "second", "Second CA", "rsa-2048")
