"""Metrics of several real processes, as one scrape sees them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.telemetry.multiprocess import retire, setup

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.integration


@contextmanager
def counting(directory: Path, *numbers: int) -> "Iterator[list[subprocess.Popen[str]]]":
    """Processes that have counted, and wait."""
    command = [sys.executable, "-m", "tests.appliance.telemetry.worker", str(directory)]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen([*command, str(number)], cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for number in numbers]
    try:
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def scrape(directory: Path) -> str:
    """The admin process's answer, from a process of its own."""
    script = (
        "import sys; from pathlib import Path; from appliance.telemetry import setup; setup(Path(sys.argv[1]))\n"
        "from appliance.telemetry.metrics import Metrics; sys.stdout.buffer.write(Metrics().exposition())"
    )
    done = subprocess.run([sys.executable, "-c", script, str(directory)], cwd=ROOT, capture_output=True, text=True, check=True)
    for path in directory.glob("*.db"):
        pid = re.search(r"(\d+)\.db$", path.name)
        if pid and not Path(f"/proc/{pid[1]}").exists() and not (directory / f"keep-{pid[1]}").exists():
            path.unlink()  # the scraper's own
    return done.stdout


def value(text: str, series: str) -> float | None:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


CONNECTIONS = 'arcus_server_connections_total{server="in",server_type="http"}'
ACTIVE = 'arcus_server_connections_active{server="in",server_type="http"}'
REQUESTS = 'arcus_server_requests_total{server="in",server_type="http"}'
RESPONSES = 'arcus_server_response_seconds_count{server="in"}'


def test_met_01_and_met_03_counters_are_summed_exactly(tmp_path: Path) -> None:
    with counting(tmp_path, 3, 40):
        text = scrape(tmp_path)
    assert value(text, CONNECTIONS) == 43
    assert value(text, REQUESTS) == 43
    assert value(text, "arcus_event_loop_lag_seconds") == 40, "the worst of all processes"


def test_met_02_the_gauge_of_active_connections_returns_to_zero(tmp_path: Path) -> None:
    with counting(tmp_path, 2, 5) as processes:
        assert value(scrape(tmp_path), ACTIVE) == 7
        for process in processes:
            assert process.stdin
            assert process.stdout
            process.stdin.close()
            assert process.stdout.readline() == "done\n"
            (tmp_path / f"keep-{process.pid}").touch()
            process.wait()
        assert value(scrape(tmp_path), ACTIVE) == 0
        for process in processes:
            process.stdin = None


def test_met_05_buckets_sum_up_to_the_requests(tmp_path: Path) -> None:
    with counting(tmp_path, 4, 6):
        text = scrape(tmp_path)
    assert value(text, RESPONSES) == value(text, REQUESTS) == 10
    assert value(text, 'arcus_server_response_seconds_bucket{le="+Inf",server="in"}') == 10
    assert value(text, 'arcus_server_response_seconds_bucket{le="0.01",server="in"}') == 0
    assert value(text, 'arcus_server_response_seconds_bucket{le="0.025",server="in"}') == 10


def test_a_process_that_was_killed_keeps_its_totals_and_loses_its_gauges(tmp_path: Path) -> None:
    for number in (3, 4):  # twice: what was kept is kept again
        with counting(tmp_path, number) as (process,):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            (tmp_path / f"keep-{process.pid}").touch()
            retire(tmp_path, process.pid)
            assert not list(tmp_path.glob(f"*_{process.pid}.db"))
    text = scrape(tmp_path)
    assert value(text, CONNECTIONS) == 7
    assert value(text, RESPONSES) == 7
    assert value(text, ACTIVE) in (None, 0)
    assert {path.name for path in tmp_path.glob("*.db")} == {"counter_retired.db", "histogram_retired.db"}


def test_retiring_a_process_that_left_nothing_is_harmless(tmp_path: Path) -> None:
    retire(tmp_path, 999_999)


def test_a_fresh_start_forgets_the_last_run(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from appliance.telemetry import setup; setup(Path(sys.argv[1]), fresh=True)"
    with counting(tmp_path, 1):
        assert list(tmp_path.glob("*.db"))
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=True)
    assert not list(tmp_path.glob("*.db"))


def test_the_files_have_their_room_on_disk(tmp_path: Path) -> None:
    """A sparse file on a full disk would be SIGBUS in the middle of a count."""
    with counting(tmp_path, 1) as (process,):
        files = list(tmp_path.glob(f"*_{process.pid}.db"))
        assert len(files) == 4
        assert all(path.stat().st_blocks * 512 >= path.stat().st_size > 0 for path in files)


def test_setup_after_prometheus_client_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import prometheus_client.values

    monkeypatch.setattr(prometheus_client.values.ValueClass, "_multiprocess", False)
    with pytest.raises(RuntimeError, match="before"):
        setup(tmp_path)
    assert os.environ.get("PROMETHEUS_MULTIPROC_DIR") != str(tmp_path)
