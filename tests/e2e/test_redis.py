"""Leaves in Redis: after a restart, between nodes, and while Redis is away (TLS-05, RDS-07, T2)."""

import contextlib
import json
import os
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.e2e import sockets
from tests.e2e.counters import counter
from tests.e2e.running import Running, base_config, running, wait_until
from tests.e2e.webserver import WebServer, webserver
from tests.redis_server import RedisProcess, redis_server
from tests.security.memory import forms

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.xdist_group("e2e-redis")]
HOSTS = ("one.test", "two.test", "three.test", "four.test")

type Webs = dict[str, WebServer]


@pytest.fixture(scope="module")
def webs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webs]:
    """A server for each host: hosts that share a certificate share a leaf, too."""
    with contextlib.ExitStack() as stack:
        yield {host: stack.enter_context(webserver(tmp_path_factory.mktemp("web"), names=(host,))) for host in HOSTS}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with redis_server(tmp_path) as server:
        yield server


def config(state: Path, webs: Webs, redis: RedisProcess, **sections: Any) -> dict[str, Any]:
    trust = {"ca_files": [str(web.ca_file) for web in webs.values()]}
    resolver = {"name": "local", "type": "system", "hosts": {host: ["127.0.0.1"] for host in HOSTS}}
    auditor = {"name": "inspect", "tls_interception": {"upstream_trust": trust}}
    shared = {"url": redis.url, "timeout": "500ms"}
    return base_config(state, auditor=[auditor], resolver=[resolver], redis=shared, **sections)


def serial(arcus: Running, webs: Webs, host: str) -> int:
    """Of the leaf that a client is shown, verified."""
    with (
        sockets.connect(arcus.port("explicit"), f"{host}:{webs[host].tls_port}") as tunnel,
        sockets.tls(tunnel, host, arcus.ca()) as sock,
    ):
        return x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"").serial_number


def health(arcus: Running) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((arcus.state / "run" / "health-worker-0.json").read_text())["components"]["redis"]
    return found


def connected(arcus: Running) -> None:
    wait_until(lambda: health(arcus)["state"] == "ok", what="redis is in use")


def test_tls_05_after_a_restart_the_same_leaf_is_shown(tmp_path: Path, webs: Webs, redis: RedisProcess) -> None:
    place = config(tmp_path / "state", webs, redis)
    with running(place, tmp_path) as arcus:
        connected(arcus)
        first = [serial(arcus, webs, host) for host in HOSTS[:3]]
        assert counter(arcus, "arcus_leaf_shared_total", "miss") == 3
    with running(place, tmp_path) as arcus:
        connected(arcus)
        assert [serial(arcus, webs, host) for host in HOSTS[:3]] == first
        wait_until(lambda: counter(arcus, "arcus_leaf_shared_total", "hit") == 3)
        assert counter(arcus, "arcus_signer_leaves_total") == counter(arcus, "arcus_leaf_signed_total") == 0


def test_rds_07_two_nodes_with_one_ca_and_one_key_show_one_leaf(tmp_path: Path, webs: Webs, redis: RedisProcess) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    with running(config(tmp_path / "a" / "state", webs, redis), tmp_path / "a") as a:
        connected(a)
        state = tmp_path / "b" / "state"
        state.mkdir(0o700)
        shutil.copytree(a.state / "ca", state / "ca")
        shutil.copy(a.state / "leaf-cache.key", state / "leaf-cache.key")
        with running(config(state, webs, redis), tmp_path / "b") as b:
            connected(b)
            assert serial(a, webs, "one.test") == serial(b, webs, "one.test")
            assert serial(b, webs, "two.test") == serial(a, webs, "two.test")


@pytest.mark.security
def test_t2_a_node_with_another_key_believes_nothing_and_goes_on(tmp_path: Path, webs: Webs, redis: RedisProcess) -> None:
    place = config(tmp_path / "state", webs, redis)
    with running(place, tmp_path) as arcus:
        connected(arcus)
        first = serial(arcus, webs, "one.test")
    names, _ = (tmp_path / "state" / "leaf-cache.key").read_text().splitlines()
    (tmp_path / "state" / "leaf-cache.key").unlink()
    with running(place, tmp_path) as arcus:  # a new file: even the names are others
        connected(arcus)
        assert serial(arcus, webs, "one.test") != first
        assert names not in (tmp_path / "state" / "leaf-cache.key").read_text()


@pytest.mark.security
def test_t2_what_is_in_redis_tells_no_key_and_no_host(tmp_path: Path, webs: Webs, redis: RedisProcess) -> None:
    with running(config(tmp_path / "state", webs, redis), tmp_path) as arcus:
        connected(arcus)
        for host in HOSTS[:3]:
            serial(arcus, webs, host)
        dump = redis.everything()
        assert dump.count(b"cert:cache:default:") == 3
        key = load_pem_private_key((arcus.state / "ca" / "default" / "ca.key").read_bytes(), None)
        assert not [form for form, needle in forms(key).items() if needle in dump]  # type: ignore[arg-type]
        assert not [word for word in (b"PRIVATE", b"one.test", b"Arcus Inspection CA") if word in dump]


@pytest.mark.security
def test_redis_is_not_reached_through_the_proxy(tmp_path: Path, webs: Webs, redis: RedisProcess) -> None:
    with running(config(tmp_path / "state", webs, redis), tmp_path) as arcus:
        answer = arcus.curl(f"http://127.0.0.1:{redis.port}/", check=False)
        assert answer.status == 403
        assert arcus.event(destination_port=redis.port)["reason"] == "egress_denied"


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_rds_07_while_redis_is_away_every_host_is_served_and_health_says_so(
    how: str, tmp_path: Path, webs: Webs, redis: RedisProcess
) -> None:
    with running(config(tmp_path / "state", webs, redis), tmp_path) as arcus:
        connected(arcus)
        known = serial(arcus, webs, "one.test")
        if how == "killed":
            redis.kill()
        else:
            redis.signal(signal.SIGSTOP)
        assert serial(arcus, webs, "two.test")
        assert serial(arcus, webs, "one.test") == known
        wait_until(lambda: health(arcus)["state"] == "degraded")
        assert health(arcus)["detail"]
        assert counter(arcus, "arcus_redis_away") == 1
        assert serial(arcus, webs, "three.test")
        wait_until(lambda: counter(arcus, "arcus_leaf_shared_total", "away") >= 1)
        with urllib.request.urlopen(f"http://127.0.0.1:{arcus.admin_port}/health", timeout=10) as answer:
            assert json.load(answer)["state"] == "degraded", "and ready all the same"
        if how == "killed":
            redis.start()
        else:
            redis.signal(signal.SIGCONT)
        connected(arcus)
        assert serial(arcus, webs, "four.test")
        wait_until(lambda: b"cert:cache:default:" in redis.everything())


def test_a_damaged_key_file_is_named_at_start(tmp_path: Path, webs: Webs, redis: RedisProcess) -> None:
    state = tmp_path / "state"
    state.mkdir(0o700)
    (state / "leaf-cache.key").write_text("nothing\n")
    os.chmod(state / "leaf-cache.key", 0o600)
    with pytest.raises(AssertionError, match=r"leaf-cache\.key: must hold"), running(config(state, webs, redis), tmp_path):
        raise RuntimeError("it started")
