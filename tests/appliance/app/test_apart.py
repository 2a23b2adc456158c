"""Work in a process of its own."""

import os
from pathlib import Path

import pytest

from appliance.app.apart import apart
from appliance.domain.errors import ConfigError, Problem
from certs.authority import AuthorityError, Fault

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def test_it_is_done_elsewhere(tmp_path: Path) -> None:
    seen: list[int] = []

    def work() -> None:
        seen.append(1)
        (tmp_path / "pid").write_text(str(os.getpid()))

    apart(work)
    assert seen == []
    assert int((tmp_path / "pid").read_text()) != os.getpid()


@pytest.mark.parametrize(
    "error",
    [
        ConfigError([Problem("one", "ca.a", "x.yaml", 3), Problem("two")]),
        AuthorityError(Fault.EXPIRED, Path("/x/ca.pem"), "it has expired"),
    ],
)
def test_what_is_wrong_comes_back_whole(error: ConfigError) -> None:
    def work() -> None:
        raise error

    with pytest.raises(ConfigError) as raised:
        apart(work)
    assert raised.value.problems == error.problems


def test_another_end_is_an_error_of_ours(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="status 70"):
        apart(lambda: 1 / 0)
    assert "ZeroDivisionError" in capfd.readouterr().err
    with pytest.raises(RuntimeError, match="status -9"):
        apart(lambda: os.kill(os.getpid(), 9))
