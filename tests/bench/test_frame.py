"""The frame of the programs that write a page."""

from collections.abc import Set
from pathlib import Path
from typing import Any

import pytest

from bench import frame
from bench.frame import Bench
from bench.measure import QUICK, Pace
from bench.processes import BenchError


def bench(tmp_path: Path, **more: Any) -> Bench[str]:
    def run(chosen: Set[str], pace: Pace) -> str:
        return f"{sorted(chosen)} {'quick' if pace is QUICK else 'full'}"

    given: dict[str, Any] = {"run": run, "markdown": lambda results: f"# {results}\n"}
    names = {"one": "the first", "three": "the third"}
    return Bench("bench.test", "A test.", tmp_path / "results.md", names, **given | more)


@pytest.fixture(autouse=True)
def nothing_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame.machine, "missing", list)


def test_the_page_is_written_when_all_was_measured_and_only_then(tmp_path: Path) -> None:
    made = bench(tmp_path)
    assert made.main(["--only", "three", "--quick"]) == 0
    assert not made.page.exists()
    assert made.main([]) == 0
    assert made.page.read_text() == "# ['one', 'three'] full\n"


def test_the_names_are_listed_and_no_others_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(tmp_path).main(["--list"]) == 0
    assert capsys.readouterr().out == "one   the first\nthree the third\n"
    with pytest.raises(SystemExit) as end:
        bench(tmp_path).main(["--only", "two"])
    assert end.value.code == 2


@pytest.mark.parametrize("error", [BenchError("broken"), KeyboardInterrupt()])
def test_what_failed_writes_nothing(tmp_path: Path, error: BaseException) -> None:
    def run(_chosen: Set[str], _pace: Pace) -> str:
        raise error

    made = bench(tmp_path, run=run)
    assert made.main([]) == 1
    assert not made.page.exists()


def test_what_is_missing_is_told_as_far_as_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame.machine, "missing", lambda: ["wrk: Debian package wrk"])
    assert bench(tmp_path).main([]) == 2
    assert bench(tmp_path, needs=lambda line: "squid" in line).main([]) == 0


def test_samples_are_written_where_there_are_any(tmp_path: Path) -> None:
    assert bench(tmp_path, data=lambda results: {"all": results}).main(["--json", str(tmp_path / "data.json")]) == 0
    assert (tmp_path / "data.json").read_text() == "{\n \"all\": \"['one', 'three'] full\"\n}\n"
    with pytest.raises(SystemExit):
        bench(tmp_path).main(["--json", "x"])


def test_a_program_that_runs_again_elsewhere_ends_with_its_status(tmp_path: Path) -> None:
    made = bench(tmp_path, enter=lambda arguments: 7 if list(arguments) == ["--only", "one"] else None)
    assert made.main(["--only", "one"]) == 7
    assert made.main(["--only", "three"]) == 0
