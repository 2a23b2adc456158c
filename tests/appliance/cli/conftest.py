"""Commands run in this process, through the same entry as the installed one."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.cli import main
from tests.appliance.config.base import BASE


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str


type Arcus = Callable[..., Ran]


@pytest.fixture
def arcus(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Arcus]:
    before = os.umask(0o022)  # commands set it for themselves; the tests after this one have it, too
    monkeypatch.delenv("ARCUS_CONFIG", raising=False)

    def run(*arguments: str | Path) -> Ran:
        code: object = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code or 0
        captured = capsysbinary.readouterr()
        assert isinstance(code, int)
        return Ran(code, captured.out.decode("latin-1"), captured.err.decode())

    yield run
    os.umask(before)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "arcus.yaml"
    file.write_text(BASE)
    return file
