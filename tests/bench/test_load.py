"""What the load generators print, read back: the samples are real output."""

import json
from pathlib import Path

import pytest

from bench.load import Load, handshakes, parse_h2load, parse_wrk
from bench.processes import BenchError

WRK = """\
Running 1s test @ https://origin.test/1k
  1 threads and 2 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.51ms    1.38ms  10.55ms   68.23%
    Req/Sec   558.09     57.01   680.00     72.73%
  611 requests in 1.10s, 2.84MB read
Requests/sec:    555.57
Transfer/sec:      2.59MB
"""
WRK_TROUBLE = """\
  1936 requests in 1.00m, 0.96GB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 1936
Requests/sec:   1759.38
"""
H2LOAD = """\
finished in 14.88ms, 26890.76 req/s, 1.75MB/s
requests: 400 total, 400 started, 400 done, 400 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 400 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 26.66KB (27298) total, 18.75KB (19200) headers (space savings 51.02%), 800B (800) data
"""
H2LOAD_FAILED = """\
finished in 2.53s, 15810.28 req/s, 3.37MB/s
requests: 40 total, 40 started, 40 done, 30 succeeded, 10 failed, 0 errored, 0 timeout
status codes: 30 2xx, 0 3xx, 10 4xx, 0 5xx
traffic: 8.73KB (8938) total, 1.95KB (2000) headers (space savings 49.49%), 5.98KB (6120) data
"""
H2LOAD_REFUSED = """\
finished in 293us, 0.00 req/s, 0B/s
requests: 40 total, 0 started, 0 done, 0 succeeded, 40 failed, 40 errored, 0 timeout
status codes: 0 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 0B (0) total, 0B (0) headers (space savings 0.00%), 0B (0) data
"""


def test_wrk_counts_time_and_bytes() -> None:
    load = parse_wrk(WRK)
    assert load == Load(requests=611, seconds=1.1, bytes=round(2.84 * 1024**2), failed=0)
    assert round(load.rate, 1) == 555.5


def test_wrk_units_and_every_kind_of_failure() -> None:
    load = parse_wrk(WRK_TROUBLE)
    assert (load.seconds, load.bytes, load.failed) == (60.0, round(0.96 * 1024**3), 1936 + 1 + 2 + 3 + 4)


def test_h2load_counts_time_and_bytes() -> None:
    assert parse_h2load(H2LOAD) == Load(requests=400, seconds=0.01488, bytes=27298, failed=0)


@pytest.mark.parametrize(("output", "good", "failed"), [(H2LOAD_FAILED, 30, 10), (H2LOAD_REFUSED, 0, 40)])
def test_h2load_counts_only_good_answers(output: str, good: int, failed: int) -> None:
    load = parse_h2load(output)
    assert (load.requests, load.failed) == (good, failed)


@pytest.mark.parametrize("parse", [parse_wrk, parse_h2load])
def test_anything_else_is_an_error_that_shows_it(parse) -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        parse("unable to connect to origin.test:443 Connection refused")


class Answering:
    """Stands for a namespace; the generator's words are given."""

    def __init__(self, **told: float) -> None:
        self.told = {"requests": 100, "resumed": 92, "bytes": 130_000, "failed": 1, "seconds": 2.0} | told
        self.first: list[str] = []

    def call(self, *command: str, seconds: float = 120) -> str:
        self.first.append(command[-1])
        return json.dumps(self.told)


def test_handshakes_are_read_back_and_no_name_is_asked_for_twice(tmp_path: Path) -> None:
    client = Answering()
    for _ in range(2):
        assert handshakes(client, tmp_path, "h.test", "cold", 8, 2) == Load(100, 2.0, 130_000, 1)  # type: ignore[arg-type]
    handshakes(client, tmp_path, "other.test", "cold", 8, 2)  # type: ignore[arg-type]
    assert client.first == ["0", "109", "0"]


def test_a_client_that_could_not_resume_has_failed(tmp_path: Path) -> None:
    assert handshakes(Answering(), tmp_path, "h.test", "resume", 8, 2).failed == 1  # type: ignore[arg-type]
    assert handshakes(Answering(resumed=50), tmp_path, "h.test", "resume", 8, 2).failed == 43  # type: ignore[arg-type]
