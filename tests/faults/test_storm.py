"""Two thousand requests of mixed kinds while a worker is killed and clamd goes away and comes back."""

import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.load import CLOSED, HUNG, Job, Load, Outcome
from tests.e2e.records import Event, SpoolWitness, lines, stored
from tests.e2e.running import Running, base_config, running, wait_until
from tests.e2e.scanners import RestartableClamd, auditor
from tests.e2e.webserver import WebServer, payload, webserver
from tests.ports import free_port
from tests.proxies import nginx
from tests.servers import EICAR

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

TOTAL = 2000
WIDTH = 24
KILLS = (400, 1700)
CLAMD_STOPS, CLAMD_STARTS = 800, 1100


@dataclass
class Scene:
    appliance: Running
    web: WebServer
    clamd: RestartableClamd
    witness: SpoolWitness
    h2_port: int


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(webserver(tmp_path))
        (tmp_path / "clean").write_bytes(payload(3000))
        certificate = web.issue(tmp_path, "origin.test")
        peer = stack.enter_context(nginx(tls=certificate, http2=True, server=f"root {tmp_path};"))
        scanner = stack.enter_context(RestartableClamd())
        appliance = stack.enter_context(running(_config(tmp_path / "state", web, scanner.port), tmp_path))
        witness = stack.enter_context(SpoolWitness(appliance.state, tmp_path / "witness"))
        yield Scene(appliance, web, scanner, witness, peer.port)


def _config(state: Path, web: WebServer, scanner: int) -> dict[str, object]:
    icap = free_port()
    services = (f"icap://127.0.0.1:{icap}/reqmod", f"icap://127.0.0.1:{icap}/respmod")
    games = {"hosts": {"child": ["games.test"]}, "action": "block"}
    config = base_config(
        state,
        workers=2,
        auditor=[auditor("inspect", web, *services)],
        verdict_cache={"enabled": False},  # what fails is asked each time
        icap_server={
            "listen": {"address": f"127.0.0.1:{icap}"},
            "scanner": {"type": "clamd", "tcp": f"127.0.0.1:{scanner}"},
        },
    )
    config["server"].append({"name": "socks", "type": "socks_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}})
    config["tenant"][0]["policies"] = [{"name": "no-games", "config": games}]
    return config


def _jobs(scene: Scene) -> list[Job]:
    """The same mix each time, in a random order; every path ends in the job's number."""
    plain, secure = scene.web.port, scene.web.tls_port
    kinds = {
        "plain": lambda n: Job(n, "plain", "http", "origin.test", plain, f"/bytes/3000/n{n}"),
        "https": lambda n: Job(n, "https", "connect", "origin.test", secure, f"/bytes/3000/n{n}", secure=True),
        "http2": lambda n: Job(n, "http2", "connect", "origin.test", scene.h2_port, f"/clean?/n{n}", secure=True, h2=True),
        "upload": lambda n: Job(n, "upload", "http", "origin.test", plain, f"/up/n{n}", upload=payload(20_000)),
        "https-upload": lambda n: Job(
            n, "https-upload", "connect", "origin.test", secure, f"/up/n{n}", secure=True, upload=payload(20_000)
        ),
        "eicar-up": lambda n: Job(n, "eicar-up", "http", "origin.test", plain, f"/up/n{n}", upload=EICAR),
        "eicar-https-up": lambda n: Job(
            n, "eicar-https-up", "connect", "origin.test", secure, f"/up/n{n}", secure=True, upload=EICAR
        ),
        "eicar-h2-up": lambda n: Job(
            n, "eicar-h2-up", "connect", "origin.test", scene.h2_port, f"/up?/n{n}", secure=True, h2=True, upload=EICAR
        ),
        "eicar-down": lambda n: Job(n, "eicar-down", "connect", "origin.test", secure, f"/eicar/n{n}", secure=True),
        "blocked": lambda n: Job(n, "blocked", "http", "games.test", 80, f"/n{n}"),
        "blocked-https": lambda n: Job(n, "blocked-https", "connect", "www.games.test", 443, f"/n{n}", secure=True),
        "socks": lambda n: Job(n, "socks", "socks", "origin.test", secure, f"/bytes/3000/n{n}", secure=True),
        "socks-plain": lambda n: Job(n, "socks-plain", "socks", "origin.test", plain, f"/bytes/3000/n{n}"),
    }
    names = list(kinds) * (TOTAL // len(kinds) + 1)
    random.Random(1).shuffle(names)
    return [kinds[name](number) for number, name in enumerate(names[:TOTAL])]


async def test_err_12_log_10_nothing_is_lost_and_nothing_passes_unscanned(scene: Scene) -> None:
    """ICP-01, ICP-02, ICP-05: every request ends, no virus passes, and the audit log has each request once."""
    load = Load(scene.appliance.port("explicit"), scene.appliance.port("socks"), scene.appliance.ca(), WIDTH)
    for count in KILLS:
        load.at(count, lambda: os.kill(scene.appliance.child_pids("worker")[0], signal.SIGKILL))
    load.at(CLAMD_STOPS, scene.clamd.stop)
    load.at(CLAMD_STARTS, lambda: _clamd_back(scene))
    outcomes = await load.run(_jobs(scene))
    print(sorted(load.statuses.items()))
    assert len(outcomes) == TOTAL
    _check_outcomes(scene, outcomes)
    scene.witness.look()
    spooled = scene.witness.events()
    _check_storage(scene.appliance, spooled)
    _check_events(outcomes, spooled)


def _clamd_back(scene: Scene) -> None:
    """Start it; go on when scans work again, by themselves."""
    scene.clamd.start()
    url = scene.web.url + "/probe"
    for _ in range(scene.appliance.config["workers"] * 2):
        wait_until(lambda: scene.appliance.curl(url).status == 200, 40, "scans work again")


def _check_outcomes(scene: Scene, outcomes: list[Outcome]) -> None:
    assert [outcome for outcome in outcomes if outcome.status == HUNG] == []
    assert scene.web.infected == []
    assert [outcome.job for outcome in outcomes if EICAR in outcome.body] == []
    by_kind: dict[str, Counter[int]] = {}
    for outcome in outcomes:
        by_kind.setdefault(outcome.job.kind, Counter())[outcome.status] += 1
        if outcome.job.path.startswith(("/bytes", "/clean")) and outcome.status == 200:
            assert outcome.body == payload(3000)
    for kind, statuses in by_kind.items():
        wanted = {403} if kind.startswith(("eicar", "blocked")) else {200}
        assert set(statuses) <= wanted | {503, CLOSED}, (kind, statuses)
        assert statuses.total() - statuses[503] - statuses[CLOSED] > 80, (kind, statuses)
    broken = [outcome for outcome in outcomes if outcome.status == CLOSED]
    assert len(broken) <= len(KILLS) * WIDTH, "only what the killed workers had in hand"


def _check_storage(appliance: Running, spooled: list[Event]) -> None:
    """Each record that a worker wrote is in both sinks, once."""
    wanted = {event["id"] for event in spooled}
    assert len(wanted) == len(spooled)
    wait_until(lambda: wanted <= {event["id"] for event in lines(appliance.state)}, 30, "the drain has caught up")
    in_lines = Counter(event["id"] for event in lines(appliance.state))
    assert set(in_lines) == wanted
    assert set(in_lines.values()) == {1}
    wait_until(lambda: len(stored(appliance.state)) >= len(wanted), 30, "the database has caught up")
    assert sorted(stored(appliance.state)) == sorted(wanted)


def _check_events(outcomes: list[Outcome], events: list[Event]) -> None:
    by_number: dict[str, list[Event]] = {}
    for event in events:
        by_number.setdefault(event["url"].rpartition("/n")[2], []).append(event)
    for outcome in outcomes:
        found = by_number.get(str(outcome.job.number), [])
        if outcome.status == CLOSED:
            assert len(found) <= 1, (outcome, found)
        else:
            assert [event["status"] for event in found] == [outcome.status], (outcome, found)
    passed = [event for event in events if event["status"] == 200]
    assert passed
    for event in passed:
        assert [scan["outcome"] for scan in event["scans"]] == ["clean", "clean"], event
        assert "not_scanned" not in event, event
