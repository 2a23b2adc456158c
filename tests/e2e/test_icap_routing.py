"""Rules, chains and sets through the whole appliance: the record says who was asked, and `arcus explain` knew it (C6)."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.records import Event, record
from tests.e2e.running import ROOT, Running, base_config, running
from tests.e2e.scanners import RestartableClamd
from tests.e2e.webserver import WebServer, webserver
from tests.ports import free_port
from tests.servers import EICAR, c_icap

pytestmark = pytest.mark.e2e


@dataclass
class Scene:
    appliance: Running
    web: WebServer
    file: Path

    def get(self, path: str, *args: str) -> Any:
        return self.appliance.curl(*args, self.web.url + path)

    def explain(self, path: str, *args: str) -> str:
        command = [sys.executable, "-m", "appliance.cli", "explain", self.web.url + path, "--client", "127.0.0.1"]
        done = subprocess.run([*command, *args, "-c", str(self.file)], capture_output=True, text=True, check=True, cwd=ROOT)
        return done.stdout


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("routing")
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(webserver(directory))
        scanner = stack.enter_context(RestartableClamd())
        assert scanner.process is not None
        foreign = stack.enter_context(c_icap(scanner.process))
        appliance = stack.enter_context(running(_config(directory / "state", foreign.uri, scanner.port), directory))
        yield Scene(appliance, web, directory / "arcus.yaml")


def _config(state: Path, foreign: Any, scanner: int) -> dict[str, Any]:
    own = free_port()
    dead = {"name": "dead", "uri": f"icap://127.0.0.1:{free_port()}/x", "health": None, "failure_limit": 100_000}
    return base_config(
        state,
        icap_service=[
            dead,
            {"name": "foreign", "uri": foreign("avscan")},
            {"name": "echo", "uri": foreign("echo"), "health": None},
            {"name": "own-up", "uri": f"icap://127.0.0.1:{own}/reqmod", "methods": ["REQMOD"]},
            {"name": "own-down", "uri": f"icap://127.0.0.1:{own}/respmod", "methods": ["RESPMOD"]},
            dead | {"name": "optional", "on_error": "bypass"},
        ],
        icap_set=[{"name": "pool", "services": ["dead", "foreign"]}],
        icap_chain=[
            {"name": "own", "links": ["own-up", "own-down"]},
            {"name": "all", "links": ["echo", "own", "pool"]},
            {"name": "lenient", "links": ["optional", "foreign"]},
        ],
        auditor=[
            {
                "name": "inspect",
                "icap_rules": [
                    {"name": "pictures", "use": "none", "direction": "response", "content_types": ["text/html"]},
                    {"name": "posts", "use": "lenient", "direction": "request", "methods": ["POST"]},
                    {"name": "rest", "use": "all"},
                ],
            }
        ],
        icap_server={
            "listen": {"address": f"127.0.0.1:{own}"},
            "scanner": {"type": "clamd", "tcp": f"127.0.0.1:{scanner}"},
        },
    )


def _asked(event: Event, method: str) -> list[tuple[str, str]]:
    return [(scan["service"], scan["outcome"]) for scan in event["scans"] if scan["method"] == method]


def test_c6_a_chain_with_a_set_in_it_both_ways(scene: Scene) -> None:
    """ICP-06: the dead member is followed by the next. The response takes the reverse order."""
    assert scene.get("/bytes/2000/chain").status == 200
    event = record(scene.appliance, "/bytes/2000/chain")
    assert _asked(event, "REQMOD") == [("echo", "clean"), ("own-up", "clean"), ("dead", "failed"), ("foreign", "clean")]
    assert _asked(event, "RESPMOD") == [("dead", "failed"), ("foreign", "clean"), ("own-down", "clean"), ("echo", "clean")]
    assert "not_scanned" not in event
    told = scene.explain("/bytes/2000/chain", "--size", "2000")
    assert "echo -> own-up -> pool (failover: dead, foreign)" in told
    assert "pool (failover: dead, foreign) -> own-down -> echo" in told


def test_c6_the_first_link_that_blocks_ends_the_chain(scene: Scene) -> None:
    answer = scene.get("/eicar/chain")
    assert (answer.status, EICAR in answer.body) == (403, False)
    assert _asked(record(scene.appliance, "/eicar/chain"), "RESPMOD") == [("dead", "failed"), ("foreign", "blocked")]


def test_c6_none_passes_and_the_record_names_the_rule(scene: Scene) -> None:
    assert scene.get("/html/none").status == 200
    event = record(scene.appliance, "/html/none")
    assert (_asked(event, "RESPMOD"), event["not_scanned"]) == ([], ["response: rule pictures"])
    assert "rule pictures" in scene.explain("/html/none", "--content-type", "text/html")


def test_c6_each_link_has_its_own_policy(scene: Scene) -> None:
    """ICAP-C39: one link is bypassed, and says so; the other blocks what it finds all the same."""
    assert scene.get("/up/one", "--data-binary", "hello").status == 200
    event = record(scene.appliance, "/up/one")
    assert _asked(event, "REQMOD") == [("optional", "bypassed"), ("foreign", "clean")]
    assert event["not_scanned"] == ["request: scan_failed"]
    assert scene.get("/up/two", "--data-binary", EICAR.decode()).status == 403
    assert scene.web.infected == []
