"""Processes that die, and how the appliance stops."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.records import SpoolWitness, lines, record, records
from tests.e2e.running import ROOT, Answer, Running, base_config, running, wait_until
from tests.e2e.scanners import auditor
from tests.e2e.sockets import dial, read_all, read_response
from tests.e2e.webserver import WebServer, webserver
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.integration]
ASKED = 120


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with webserver(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, web: WebServer) -> dict[str, object]:
    trusting = {"name": "inspect", "tls_interception": {"upstream_trust": {"ca_files": [str(web.ca_file)]}}}
    return base_config(tmp_path / "state", workers=2, auditor=[trusting])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(appliance: Running) -> list[int]:
    return [pid for kind in ("worker", "icap", "admin", "demo") for pid in appliance.child_pids(kind)]


def test_err_12_log_10_a_killed_worker_is_replaced_and_loses_no_record(
    config: dict[str, object], tmp_path: Path, web: WebServer
) -> None:
    with running(config, tmp_path) as appliance, SpoolWitness(appliance.state, tmp_path / "witness") as witness:
        before = appliance.child_pids("worker")
        with ThreadPoolExecutor(12) as pool:
            asked = [pool.submit(appliance.curl, f"{web.url}/wait/k{number}?20", check=False) for number in range(ASKED)]
            wait_until(lambda: len(web.seen("/wait/k")) > 30)
            os.kill(before[0], signal.SIGKILL)
            answers = [each.result() for each in asked]
        broken = [number for number, answer in enumerate(answers) if answer.status != 200]
        assert len(broken) <= 12, "the other worker serves, and connections that were waiting are not lost"
        wait_until(lambda: len(appliance.child_pids("worker")) == 2, what="a new worker")
        assert before[1] in appliance.child_pids("worker")
        witness.look()
        urls = [event["url"].partition("?")[0].rpartition("/k")[2] for event in witness.events() if "/wait/" in event["url"]]
        assert len(urls) == len(set(urls)), "one record each"
        assert set(urls) >= {str(number) for number in range(ASKED)} - {str(number) for number in broken}
        wanted = {event["id"] for event in witness.events()}
        wait_until(lambda: {event["id"] for event in lines(appliance.state)} >= wanted, what="the drain has them all")


def _replaced(appliance: Running, kind: str, pids: set[int]) -> bool:
    now = set(appliance.child_pids(kind))
    return len(now) == len(pids) and not now & pids


@pytest.mark.parametrize("kind", ["admin", "worker"])
def test_err_12_every_kind_of_child_is_started_again(kind: str, config: dict[str, object], tmp_path: Path) -> None:
    with running(config, tmp_path) as appliance:
        wait_until(lambda: appliance.child_pids(kind))
        for _ in range(2):
            pids = set(appliance.child_pids(kind))
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            wait_until(partial(_replaced, appliance, kind, pids))
        assert appliance.process.poll() is None


def test_err_12_children_die_with_a_killed_parent(config: dict[str, object], tmp_path: Path, web: WebServer) -> None:
    icap = free_port()
    services = (f"icap://127.0.0.1:{icap}/reqmod", f"icap://127.0.0.1:{icap}/respmod")
    config |= {
        "auditor": [auditor("inspect", web, *services)],
        "icap_server": {"listen": {"address": f"127.0.0.1:{icap}"}, "scanner": {"type": "clamd", "managed": True}},
    }
    with running(config, tmp_path) as appliance:
        wait_until(lambda: appliance.curl(web.url + "/hello").status == 200, 40, "clamd is ready")
        clamd = int((appliance.state / "clamd" / "child.pid").read_text())
        pids = [*children(appliance), clamd]
        assert len(pids) == 5
        appliance.process.kill()
        appliance.process.wait()
        wait_until(lambda: not any(map(alive, pids)), what="nothing is left over")
    with running(config, tmp_path) as appliance:
        assert appliance.curl(web.url + "/hello").status in (200, 503)
        assert appliance.stop(signal.SIGTERM) == 0


def test_err_12_sigterm_lets_a_download_finish(config: dict[str, object], tmp_path: Path, web: WebServer) -> None:
    with running(config, tmp_path) as appliance, dial(appliance.port("explicit")) as idle:
        idle.sendall(f"GET {web.url}/hello HTTP/1.1\r\nHost: origin.test:{web.port}\r\n\r\n".encode())
        assert read_response(idle)[0] == 200
        found: list[Answer] = []
        download = threading.Thread(target=lambda: found.append(appliance.curl(f"{web.url}/drip/drain?20")))
        download.start()
        wait_until(lambda: web.seen("/drip/drain"))
        pids = children(appliance)
        appliance.process.send_signal(signal.SIGTERM)
        assert read_all(idle) == b"", "an idle connection is closed at once"
        download.join(30)
        assert (found[0].status, len(found[0].body)) == (200, 20 * 1024)
        assert appliance.process.wait(20) == 0
        assert not any(map(alive, pids))
        event = record(appliance, "/drip/drain")
        assert (event["reason"], event["bytes_sent"]) == ("ok", 20 * 1024)
        assert not list((appliance.state / "spool").glob("*.seg")), "the last records are in the sinks"


def test_err_12_sigint_does_not_wait(config: dict[str, object], tmp_path: Path, web: WebServer) -> None:
    with running(config, tmp_path) as appliance:
        download = threading.Thread(target=lambda: appliance.curl(f"{web.url}/drip/int?300", check=False, timeout=40))
        download.start()
        wait_until(lambda: web.seen("/drip/int"))
        assert appliance.stop(signal.SIGINT) == 0
        download.join(30)
        assert [event["reason"] for event in records(appliance, "/drip/int")] == ["shutting_down"]


def test_err_12_two_appliances_do_not_share_a_state_directory(
    config: dict[str, object], tmp_path: Path, web: WebServer
) -> None:
    with running(config, tmp_path) as first:
        path = tmp_path / "second.yaml"
        listen = {"address": f"127.0.0.1:{free_port()}"}
        path.write_text(json.dumps(config | {"server": [{"name": "e", "type": "http_proxy", "listen": listen}]}))
        command = [sys.executable, "-m", "appliance.cli", "run", "-c", str(path)]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode != 0
        assert "another Arcus is running" in second.stdout + second.stderr
        assert first.curl(web.url + "/hello").status == 200


def test_err_12_a_port_in_use_is_named(config: dict[str, object], tmp_path: Path) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    config |= {"server": [{"name": "e", "type": "http_proxy", "listen": {"address": f"127.0.0.1:{port}"}}]}
    with taken, pytest.raises(AssertionError, match=f"127.0.0.1:{port}"), running(config, tmp_path):
        raise RuntimeError("it started")
