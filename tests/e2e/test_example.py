"""A complete configuration, section by section: it is checked, it runs, and each part does what it says."""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from appliance.identity import hashes
from tests.e2e.records import record, stored
from tests.e2e.running import ROOT, Answer, Running, running, wait_until
from tests.e2e.webserver import WebServer, webserver
from tests.ports import free_port
from tests.proxies import Peer, SocksParent, socks5_parent, squid
from tests.servers import EICAR, clamd

pytestmark = [pytest.mark.e2e, pytest.mark.integration]
PASSWORD = "wonderland"
NAMES = ("origin.test", "www.tenant-a.test", "pinned.test", "via-http.test", "via-socks.test")


@dataclass
class Scene:
    appliance: Running
    web: WebServer
    squid: Peer
    socks: SocksParent
    directory: Path

    def get(self, url: str, *args: str | Path, ca: str = "default", via: str = "explicit") -> Answer:
        return self.appliance.curl("--cacert", self.appliance.ca(ca), *args, url, via=via, check=False)


@contextlib.contextmanager
def _socks_parent() -> Iterator[SocksParent]:
    """In a thread with a loop of its own."""
    loop = asyncio.new_event_loop()
    stop, ready, found = asyncio.Event(), threading.Event(), []

    async def serve() -> None:
        async with socks5_parent(hosts={"via-socks.test": "127.0.0.1"}) as parent:
            found.append(parent)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(20)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("example")
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(webserver(directory, names=NAMES))
        parent = stack.enter_context(squid(hosts={"via-http.test": "127.0.0.1"}))
        socks = stack.enter_context(_socks_parent())
        scanner = stack.enter_context(clamd())
        words = {
            "STATE": directory / "state",
            "ORIGIN_CA": web.ca_file,
            "CLAMD_SOCKET": scanner.socket,
            "PASSWORD_HASH": hashes.make(PASSWORD),
            "SQUID_PORT": parent.port,
            "SOCKS_PARENT_PORT": socks.port,
            "WEB_PORT": web.port,
            "WEB_TLS_PORT": web.tls_port,
        }
        words |= {f"{name}_PORT": free_port() for name in ("ICAP", "HTTP", "MEMBERS", "SOCKS", "WIRE", "ADMIN")}
        appliance = stack.enter_context(running(_example(words), directory))
        yield Scene(appliance, web, parent, socks, directory)


def _example(words: dict[str, Any]) -> dict[str, Any]:
    text = Path(__file__).with_name("example.yaml").read_text()
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, str(words[word]))
    config: dict[str, Any] = YAML(typ="safe").load(text)
    return config


def test_cfg_01_the_example_is_valid(scene: Scene) -> None:
    command = [sys.executable, "-m", "appliance.cli", "check", "-c", str(scene.directory / "arcus.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_srv_01_srv_02_the_three_listeners_and_the_admin_listen(scene: Scene) -> None:
    for url in (scene.web.url, scene.web.tls_url):
        assert scene.get(f"{url}/explicit").status == 200
        over_socks = scene.get(f"{url}/socks", "--socks5-hostname", f"127.0.0.1:{scene.appliance.port('socks')}", via="")
        assert over_socks.status == 200, over_socks.error
    assert record(scene.appliance, f"{scene.web.tls_url}/socks")["protocol"] == "socks5"


def test_esc_01_the_router_leads_through_an_http_parent(scene: Scene) -> None:
    for scheme, port in (("http", scene.web.port), ("https", scene.web.tls_port)):
        answer = scene.get(f"{scheme}://via-http.test:{port}/parent-{scheme}")
        assert answer.status == 200, answer.body
        event = record(scene.appliance, f"/parent-{scheme}")
        assert event["escape"]["path"] == ["router", "parent-http"]
        assert event["escape"]["next_hop"] == f"127.0.0.1:{scene.squid.port}"
    assert any(" GET " in line for line in scene.squid.log("/parent-http"))
    # squid logs a tunnel at its end: this one is kept for the client's next connection first
    wait_until(lambda: scene.squid.log(f"CONNECT via-http.test:{scene.web.tls_port}"), 60, "the tunnel in squid's log")


def test_esc_01_the_router_leads_through_a_socks_parent(scene: Scene) -> None:
    for scheme, port in (("http", scene.web.port), ("https", scene.web.tls_port)):
        assert scene.get(f"{scheme}://via-socks.test:{port}/socks-parent-{scheme}").status == 200
        assert record(scene.appliance, f"/socks-parent-{scheme}")["escape"]["path"] == ["router", "parent-socks"]
    assert {(host, port) for _, host, port, _ in scene.socks.requests} == {
        ("via-socks.test", scene.web.port),
        ("via-socks.test", scene.web.tls_port),
    }


@pytest.mark.parametrize("host", ["blocked.test", "a.b.blocked.test", "x.malicious.test", "203.0.113.9"])
def test_esc_01_the_router_leads_nowhere(scene: Scene, host: str) -> None:
    for scheme in ("http", "https"):
        answer = scene.get(f"{scheme}://{host}/nowhere-{scheme}")
        assert answer.status == 403, answer.error
        event = record(scene.appliance, f"://{host}/nowhere-{scheme}")
        assert (event["reason"], event["escape"]["path"]) == ("denied_by_escaper", ["router", "nowhere"])


def test_tls_02_names_that_are_spliced_keep_their_certificate(scene: Scene) -> None:
    url = f"https://pinned.test:{scene.web.tls_port}/pinned"
    assert scene.get(url).code == 60, "our CA has not signed it"
    answer = scene.appliance.curl("--cacert", scene.web.ca_file, url)
    assert answer.status == 200
    event = wait_until(lambda: scene.appliance.events(destination_host="pinned.test"))[-1]
    assert (event["decrypt"], event["decrypt_rule"], event["kind"]) == ("splice", "splice_list", "tunnel")


def test_icp_01_icp_02_the_virus_is_stopped_both_ways(scene: Scene) -> None:
    assert scene.get(f"{scene.web.tls_url}/eicar").status == 403
    assert scene.get(f"{scene.web.tls_url}/up", "--data-binary", EICAR.decode()).status == 403
    assert scene.web.infected == []


def test_ten_01_a_tenant_by_network_and_by_name_has_its_own_ca_and_policies(scene: Scene) -> None:
    by_network = scene.get(f"{scene.web.tls_url}/tenant-a", "--interface", "127.0.0.2", ca="tenant-a")
    assert by_network.status == 200, by_network.error
    event = record(scene.appliance, "/tenant-a")
    assert (event["tenant_id"], event["tenant_method"]) == ("tenant-a", "network")
    by_name = scene.get(f"https://www.tenant-a.test:{scene.web.tls_port}/by-name", ca="tenant-a")
    assert by_name.status == 200, by_name.error
    assert record(scene.appliance, "/by-name")["tenant_id"] == "tenant-a"
    blocked = scene.get("http://www.games.test/games", "--interface", "127.0.0.2")
    assert (blocked.status, b"Games are not allowed" in blocked.body) == (403, True)
    assert record(scene.appliance, "/games")["rule"] == "no-games"


def test_usr_01_members_give_a_password_and_keep_to_their_ports(scene: Scene) -> None:
    assert scene.get(f"{scene.web.url}/members", via="members").status == 407
    user = ["--proxy-user", f"alice:{PASSWORD}"]
    assert scene.get(f"{scene.web.url}/alice", *user, via="members").status == 200
    assert record(scene.appliance, "/alice")["user_id"] == "alice"
    denied = scene.get(f"http://origin.test:{scene.squid.port}/port", *user, via="members")
    assert denied.status == 403
    assert record(scene.appliance, "/port")["reason"] == "port_denied"


def test_log_01_the_events_are_in_the_database(scene: Scene) -> None:
    assert scene.get(f"{scene.web.url}/stored").status == 200
    wanted = record(scene.appliance, "/stored")["id"]
    wait_until(lambda: wanted in stored(scene.appliance.state), what="the database has it")


def test_met_01_health_and_metrics_answer(scene: Scene) -> None:
    base = f"http://127.0.0.1:{scene.appliance.admin_port}"
    health = wait_until(lambda: _healthy(scene, base), 30, "everything is healthy")
    assert health["missing"] == []
    assert b"arcus_server_requests_total" in scene.appliance.curl(f"{base}/metrics", via=None).body


def _healthy(scene: Scene, base: str) -> Any:
    """What ``/health`` says when it says that all is well: a scanner is asked some time after the start."""
    answer = scene.appliance.curl(f"{base}/health", via=None)
    return json.loads(answer.body) if answer.status == 200 else None
