"""A process of the appliance is killed while others need it."""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.records import SpoolWitness, lines, stored
from tests.e2e.running import Answer, Running, base_config, running, wait_until
from tests.e2e.scanners import RestartableClamd, auditor
from tests.e2e.webserver import WebServer, payload, webserver
from tests.ports import free_port
from tests.servers import EICAR

pytestmark = pytest.mark.e2e
ESTABLISHED = "01"


@dataclass
class Scene:
    appliance: Running
    web: WebServer
    clamd: RestartableClamd

    def get(self, path: str, *args: str) -> Answer:
        return self.appliance.curl("--cacert", self.appliance.ca(), *args, self.web.tls_url + path, check=False, timeout=40)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("faults")
    icap = free_port()
    services = (f"icap://127.0.0.1:{icap}/reqmod", f"icap://127.0.0.1:{icap}/respmod")
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(webserver(directory))
        clamd = stack.enter_context(RestartableClamd())
        config = base_config(
            directory / "state",
            auditor=[auditor("inspect", web, *services)],
            verdict_cache={"enabled": False},  # what fails is asked each time
            icap_server={
                "listen": {"address": f"127.0.0.1:{icap}"},
                "scanner": {"type": "clamd", "tcp": f"127.0.0.1:{clamd.port}"},
            },
        )
        yield Scene(stack.enter_context(running(config, directory)), web, clamd)


def test_icp_05_the_icap_server_is_killed_in_the_middle_of_bodies(scene: Scene) -> None:
    """ERR-12: what was with it is blocked or scanned again, never passed; its successor takes over by itself."""
    pid = scene.appliance.child_pids("icap")[0]
    listener = scene.appliance.config["icap_server"]["listen"]["address"]
    with ThreadPoolExecutor(8) as pool:
        os.kill(pid, signal.SIGSTOP)
        clean = [pool.submit(scene.get, f"/bytes/2000000/killed{number}") for number in range(4)]
        infected = [pool.submit(scene.get, f"/eicar/killed{number}") for number in range(2)]
        uploads = [pool.submit(scene.get, f"/up/killed{number}", "--data-binary", EICAR.decode()) for number in range(2)]
        wait_until(lambda: scene.appliance.process.poll() is None and _connected(listener))
        time.sleep(0.3)  # let the bodies get as far as a stopped process lets them
        os.kill(pid, signal.SIGKILL)
        for each in clean:
            answer = each.result()
            assert answer.status == 503 or (answer.status, answer.body) == (200, payload(2_000_000))
        for each in infected + uploads:
            answer = each.result()
            assert answer.status in (403, 503)
            assert EICAR not in answer.body
    assert scene.web.infected == []
    wait_until(lambda: scene.get("/hello").status == 200, 30, "scans work again")
    assert scene.appliance.child_pids("icap") != [pid]
    assert scene.get("/eicar/after").status == 403


def _connected(address: str) -> bool:
    """Whether the listener has connections, accepted or not; as a stranger to the process may know it."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(local.endswith(port) and state == ESTABLISHED for _, local, _, state, *_ in fields)


def test_icp_05_clamd_stops_answering_in_the_middle_of_a_scan(scene: Scene) -> None:
    """It is there and silent: the scan ends by its own time, and as an error."""
    assert scene.clamd.process is not None
    pid = scene.clamd.process.pid
    with ThreadPoolExecutor(2) as pool:
        os.kill(pid, signal.SIGSTOP)
        try:
            infected = pool.submit(scene.get, "/eicar/silent")
            wait_until(lambda: scene.web.seen("/eicar/silent"))
            time.sleep(0.3)
            os.kill(pid, signal.SIGKILL)
            answer = infected.result()
        finally:
            scene.clamd.stop()
            scene.clamd.start()
    assert (answer.status, EICAR in answer.body) == (503, False)
    wait_until(lambda: scene.get("/hello").status == 200, 30, "scans work again")


def test_log_10_the_drain_is_killed_and_nothing_is_lost_or_twice(scene: Scene, tmp_path: Path) -> None:
    """ERR-12"""
    with SpoolWitness(scene.appliance.state, tmp_path / "witness") as witness, ThreadPoolExecutor(4) as pool:
        asked = []
        for _ in range(3):
            asked += [pool.submit(scene.get, "/bytes/10/drain") for _ in range(15)]
            asked[-8].result()
            for pid in scene.appliance.child_pids("admin"):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: scene.appliance.child_pids("admin"), what="a new admin process")
        assert {each.result().status for each in asked} == {200}, "traffic does not need the admin process"
        witness.look()
        wanted = {event["id"] for event in witness.events()}
        assert len([event for event in witness.events() if event["url"].endswith("/bytes/10/drain")]) == len(asked)
    wait_until(lambda: {event["id"] for event in lines(scene.appliance.state)} >= wanted, 40, "the drain has caught up")
    assert set(Counter(event["id"] for event in lines(scene.appliance.state)).values()) == {1}
    wait_until(lambda: set(stored(scene.appliance.state)) >= wanted, 40, "the database has caught up")
    assert set(Counter(stored(scene.appliance.state)).values()) == {1}
