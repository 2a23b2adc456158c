from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.web.stage import Stage, stage


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as ready:
        yield ready
