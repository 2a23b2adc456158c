"""Real faults of a real ICAP service: c-icap with clamd behind it, stopped, hung, killed, and cut off from the network.

Each ends by the configured policy, is named in the record, and is over by itself when its cause is.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.counters import counter
from tests.e2e.netns import why_not
from tests.e2e.records import record, records
from tests.e2e.running import Answer, Running, base_config, running, wait_until
from tests.e2e.webserver import WebServer, payload, webserver
from tests.ports import free_port
from tests.servers import EICAR, CIcap, Clamd, c_icap, clamd

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

POLICIES = {"strict": "block", "lenient": "bypass"}
FAST = {
    "connect_timeout": 1.0,
    "first_byte_timeout": 2.0,
    "between_bytes_timeout": 2.0,
    "timeout": 5.0,
    "failure_limit": 1000,
    "revival_delay": 1.0,
}


@dataclass
class Peers:
    """clamd, and c-icap on a port that stays the same."""

    scanner: Clamd
    port: int = field(default_factory=free_port)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    c_icap: CIcap | None = None

    def start(self) -> None:
        self.c_icap = self._stack.enter_context(c_icap(self.scanner, port=self.port))

    def stop(self) -> None:
        self._stack.close()

    def signal_c_icap(self, number: signal.Signals) -> None:
        """To the process and its children."""
        assert self.c_icap is not None
        os.killpg(self.c_icap.pid, number)


@dataclass
class Scene:
    appliance: Running
    web: WebServer
    peers: Peers

    def get(self, name: str, path: str) -> Answer:
        via = f"http://127.0.0.1:{self.appliance.port(name)}"
        return self.appliance.curl("-x", via, self.web.url + path, via=None, check=False, timeout=60)

    def both(self, path: str) -> tuple[str, dict[str, Answer]]:
        """The same download under both policies at one time: its path, which no other request has, and the answers."""
        path = f"{path}-{secrets.token_hex(4)}"
        with ThreadPoolExecutor(2) as pool:
            asked = {name: pool.submit(self.get, name, f"{path}-{name}") for name in POLICIES}
            return path, {name: each.result() for name, each in asked.items()}

    def works(self, name: str) -> None:
        """Scans work again, by themselves."""
        wait_until(lambda: self.get(name, "/bytes/10/again").status == 200, 60, f"{name} is scanned again")
        wait_until(lambda: self.get(name, "/eicar/again").status == 403, 60, f"{name} finds EICAR again")

    def health(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.appliance.admin_port}/health", timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            found = json.load(error)
        return found

    def component(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.health()["processes"]["worker-0"]["components"][f"icap {name}"]
        return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("peers")
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(webserver(directory))
        peers = Peers(stack.enter_context(clamd()))
        peers.start()
        stack.callback(peers.stop)
        appliance = stack.enter_context(running(_config(directory / "state", peers.port), directory))
        found = Scene(appliance, web, peers)
        for name in POLICIES:
            found.works(name)
        yield found


def _config(state: Path, port: int) -> dict[str, Any]:
    uri = f"icap://127.0.0.1:{port}/avscan"
    health: dict[str, Any] = {"strict": None, "lenient": None, "watched": {"interval": 0.5, "timeout": 2.0}}
    policies = POLICIES | {"watched": "block"}
    tenant = {"ca": "default", "escaper": "direct"}
    return base_config(
        state,
        icap_service=[
            {"name": name, "uri": uri, "on_error": policy, "health": health[name]} | FAST for name, policy in policies.items()
        ],
        auditor=[{"name": name, "icap_rules": [{"name": "all", "use": name}]} for name in policies],
        tenant=[{"tenant_id": name, "auditor": name} | tenant for name in policies],
        server=[_listener(name) for name in policies],
    )


def _listener(name: str) -> dict[str, Any]:
    context = {"tenant_id": name}
    listen = {"address": f"127.0.0.1:{free_port()}"}
    return {"name": name, "type": "http_proxy", "listen": listen, "tenant_context": context}


def _check_policies(scene: Scene, asked: tuple[str, dict[str, Answer]], reasons: set[str]) -> None:
    """``block``: nothing came. ``bypass``: everything came, and the record says that it was not scanned, and why."""
    path, answers = asked
    strict = record(scene.appliance, f"{path}-strict")
    assert (answers["strict"].status, strict["reason"] in reasons) == (503, True), strict
    assert EICAR not in answers["strict"].body
    assert "bypassed" not in {scan["outcome"] for scan in strict["scans"]}
    lenient = record(scene.appliance, f"{path}-lenient")
    assert answers["lenient"].status == 200, lenient
    failed = [scan for scan in lenient["scans"] if scan["outcome"] == "bypassed"]
    assert failed, lenient
    assert {scan["reason"] for scan in failed} <= reasons, lenient
    assert len(lenient["not_scanned"]) == len(failed), lenient


@contextlib.contextmanager
def _hung(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_icp_05_clamd_hangs_in_the_middle_of_a_scan(scene: Scene) -> None:
    """ICAP-C37: c-icap waits for a scanner that does not answer; we do not."""
    with _hung(scene.peers.scanner.pid):
        answers = scene.both("/bytes/200000/hung")
    _check_policies(scene, answers, {"icap_timeout"})
    scene.works("strict")


def test_icp_05_a_slow_scan_is_a_scan(scene: Scene) -> None:
    """Slower than usual and within the deadline: no failure, and a virus is found all the same."""
    with ThreadPoolExecutor(2) as pool:
        with _hung(scene.peers.scanner.pid):
            clean = pool.submit(scene.get, "strict", "/bytes/5000/slow")
            infected = pool.submit(scene.get, "lenient", "/eicar/slow")
            time.sleep(0.5)
        assert (clean.result().status, clean.result().body) == (200, payload(5000))
        assert infected.result().status == 403
    for event in records(scene.appliance, "/bytes/5000/slow"):
        assert [scan["outcome"] for scan in event["scans"]] == ["clean", "clean"]


def test_icp_05_the_service_is_killed_in_the_middle_of_a_body(scene: Scene) -> None:
    """ICAP-C34: connections under way are cut, and the ones that were kept are of no use."""
    scene.peers.signal_c_icap(signal.SIGSTOP)
    killing = ThreadPoolExecutor(1).submit(_later, lambda: scene.peers.signal_c_icap(signal.SIGKILL))
    answers = scene.both("/bytes/2000000/killed")
    killing.result()
    _check_policies(scene, answers, {"icap_error", "icap_unreachable", "icap_timeout"})
    gone = scene.both("/bytes/10/gone")
    _check_policies(scene, gone, {"icap_unreachable"})
    scene.peers.stop()
    scene.peers.start()
    scene.works("strict")


def _later(do: Callable[[], None]) -> None:
    time.sleep(0.5)
    do()


@contextlib.contextmanager
def _black_hole(port: int) -> Iterator[None]:
    """Packets to this port are dropped without a word, for all connections."""
    table = f"arcus_test_{port}"
    rules = f"table inet {table} {{ chain in {{ type filter hook input priority 0; tcp dport {port} drop\n }}\n}}\n"
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)


@pytest.mark.netns
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_icap_c37_a_black_hole_costs_no_more_than_the_deadline(scene: Scene) -> None:
    """Neither a connection that is kept nor a new one gets an answer, not even a refusal."""
    with _black_hole(scene.peers.port):
        answers = scene.both("/bytes/3000/hole")
        again = scene.both("/bytes/3000/deep")
    for each in (answers, again):
        _check_policies(scene, each, {"icap_timeout", "icap_unreachable"})
    for name in POLICIES:
        scene.works(name)


@contextlib.contextmanager
def _stopped(peers: Peers) -> Iterator[None]:
    peers.stop()
    try:
        yield
    finally:
        peers.start()


def test_icp_14_a_service_that_stops_is_degraded_health_and_a_counter(scene: Scene) -> None:
    """Stopped, seen by the check without any traffic, and back by itself."""
    counted = ("arcus_icap_service_probes_total", "watched", "icap_unreachable")
    wait_until(lambda: scene.component("watched")["state"] == "ok", 60, "the service is up")
    before = counter(scene.appliance, *counted)
    with _stopped(scene.peers):
        wait_until(lambda: "icap_unreachable" in scene.component("watched")["detail"], 60, "the service is down")
        assert scene.component("watched")["state"] == "degraded"
        wait_until(lambda: scene.health()["state"] == "degraded", 60, "so is the whole")
        wait_until(lambda: counter(scene.appliance, *counted) > before, 60, "the check is counted")
        wait_until(lambda: counter(scene.appliance, "arcus_icap_service_state", "watched") == 3, 60, "the state is a metric")
        path = f"/bytes/10/watched-{secrets.token_hex(4)}"
        assert scene.get("watched", path).status == 503
        assert record(scene.appliance, path)["reason"] == "icap_unreachable"
    wait_until(lambda: scene.component("watched")["state"] == "ok", 60, "the service is up again")
    scene.works("watched")


def test_icap_c22_c_icap_that_was_started_before_clamd_is_down(tmp_path: Path) -> None:
    """It answers OPTIONS with 200 and EICAR with 204, for good: nothing may pass by it, whatever the policy for errors."""
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(webserver(tmp_path))
        missing = Clamd(tmp_path, tmp_path / "none.sock", free_port(), 0)
        blind = stack.enter_context(c_icap(missing))
        appliance = stack.enter_context(running(_config(tmp_path / "state", blind.port), tmp_path))
        scene = Scene(appliance, web, Peers(missing, blind.port))
        assert scene.get("strict", "/eicar/blind").status == 200, "so it is without the check"
        answer = scene.get("watched", "/eicar/seen")
        assert (answer.status, EICAR in answer.body) == (503, False)
        assert record(appliance, "/eicar/seen")["reason"] == "icap_unhealthy"
        wait_until(lambda: scene.component("watched")["state"] == "degraded", 30, "the service is down")
        wait_until(lambda: "came back clean" in scene.component("watched")["detail"], 30, "the reason is told")
