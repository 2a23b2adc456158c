"""A new configuration takes over while clients are at work (C20, CFG-09, CFG-10, REG-02, TEN-10, CTL-01)."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from appliance.control import client, protocol
from tests.e2e.running import ROOT, Answer, Running, base_config, running, wait_until
from tests.e2e.sockets import dial, read_all
from tests.e2e.steady import steady
from tests.e2e.test_resumption import Client
from tests.e2e.webserver import WebServer, webserver
from tests.ports import free_port
from tests.proxies import nginx

# a dozen processes start in some of these, on a machine that may be busy: the limit is not about speed
pytestmark = [pytest.mark.timeout(400), pytest.mark.e2e, pytest.mark.integration, pytest.mark.xdist_group("e2e-reload")]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with webserver(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, web: WebServer) -> dict[str, Any]:
    interception = {"upstream_trust": {"ca_files": [str(web.ca_file)]}}
    return base_config(tmp_path / "state", workers=2, auditor=[{"name": "inspect", "tls_interception": interception}])


@pytest.fixture
def arcus(config: dict[str, Any], tmp_path: Path) -> Iterator[Running]:
    with running(config, tmp_path) as started:
        wait_until(lambda: (started.state / "run" / protocol.SOCKET).exists())
        yield started


def changed(arcus: Running, **sections: Any) -> dict[str, Any]:
    return deepcopy(arcus.config) | sections


def listener(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}, **more}


def pids(arcus: Running, *kinds: str) -> set[int]:
    return {pid for kind in kinds for pid in arcus.child_pids(kind)}


def test_c20_reg_02_five_reloads_under_load_cost_no_request(arcus: Running, web: WebServer, tmp_path: Path) -> None:
    """Keep-alive and new connections, CONNECT with TLS, HTTP/2, and one download that outlives its generation."""
    found: list[Answer] = []
    download = threading.Thread(target=lambda: found.append(arcus.curl(f"{web.url}/drip/long?150", timeout=90)))
    download.start()
    wait_until(lambda: web.seen("/drip/long"))
    with (
        nginx(tls=web.issue(tmp_path, "origin.test"), http2=True) as origin,
        steady(arcus, web, http2=f"https://origin.test:{origin.port}/") as load,
    ):
        kept, admin = pids(arcus, "signer"), pids(arcus, "admin")
        for number in range(2, 7):
            before = pids(arcus, "worker")
            told = arcus.reload(changed(arcus, audit={"mask_query": [f"token{number}"]}))
            assert (told["ok"], told["generation"]) == (True, number), told
            assert (told["restarted"], told["kept"]) == (["worker", "admin"], ["signer"])
            load.further(60)
            assert _serving(arcus, number) == 2
            assert load.failures == []
            assert not admin & pids(arcus, "admin")
            assert pids(arcus, "worker") - before
        assert all(load.done.values()), load.done
    assert load.failures == []
    assert pids(arcus, "signer") == kept
    download.join(90)
    assert (found[0].status, len(found[0].body)) == (200, 150 * 1024)


def test_cfg_09_a_broken_file_changes_nothing_and_is_told_with_its_line(arcus: Running, web: WebServer) -> None:
    before, good = pids(arcus, "worker", "signer", "admin"), arcus.file.read_text()
    arcus.file.write_text(good.replace("workers: 2", "workers: none"))
    line = next(number for number, text in enumerate(arcus.file.read_text().split("\n"), 1) if "workers:" in text)
    done = arcus.arcus("reload")
    assert done.returncode == 1
    assert f"{arcus.file}:{line}: workers: " in done.stderr
    assert pids(arcus, "worker", "signer", "admin") == before
    assert arcus.curl(f"{web.url}/hello").status == 200
    status = arcus.status()
    assert (status["generation"], status["last_reload"]["ok"]) == (1, False)
    assert status["last_reload"]["problems"][0]["line"] == line
    health = f"http://127.0.0.1:{arcus.admin_port}/health"
    assert b"the last reload failed" in arcus.curl(health, via=None).body
    metrics = arcus.curl(f"http://127.0.0.1:{arcus.admin_port}/metrics", via=None).body
    assert b'arcus_config_reloads_total{outcome="failed"} 1.0' in metrics
    arcus.file.write_text("- not: [a configuration\n" + good)
    assert f"{arcus.file}:" in arcus.arcus("reload").stderr
    arcus.file.write_text(good)
    assert arcus.reload()["ok"]
    wait_until(lambda: b"the last reload failed" not in arcus.curl(health, via=None).body)


def test_c20_a_file_that_only_the_parts_can_refuse_changes_nothing(arcus: Running, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    arcus.rewrite(changed(arcus, ca=[{"name": "default", "certificate": str(bad), "private_key": str(bad)}]))
    done = arcus.arcus("reload")
    assert (done.returncode, str(bad) in done.stderr) == (1, True)
    assert arcus.status()["generation"] == 1


def test_reg_02_listeners_come_and_go_and_the_others_do_not_notice(arcus: Running, web: WebServer) -> None:
    config = changed(arcus)
    with steady(arcus, web) as load:
        added = arcus.reload(config | {"server": [*config["server"], listener("more")]})
        assert "added server more" in added["changes"]
        port = arcus.port("more")
        assert arcus.curl(f"{web.url}/hello", via="more").status == 200
        load.further()
        renamed = arcus.reload(config | {"server": [config["server"][0] | {"max_connections": 77}]})
        assert {"removed server more", "changed server explicit"} <= set(renamed["changes"])
        load.further()
        assert load.failures == []
    with pytest.raises(ConnectionRefusedError):
        dial(port)


def test_cfg_09_a_port_in_use_is_named_with_file_and_line_and_nothing_changes(arcus: Running, web: WebServer) -> None:
    config = changed(arcus)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        more, free = listener("more"), listener("free")
        more["listen"]["address"] = f"127.0.0.1:{port}"
        arcus.rewrite(config | {"server": [*config["server"], free, more]})
        done = arcus.arcus("reload")
        assert done.returncode == 1
        assert f"{arcus.file}:" in done.stderr
        assert f"server[more].listen: cannot listen on 127.0.0.1:{port}" in done.stderr
    with pytest.raises(ConnectionRefusedError):
        dial(arcus.port("free"))
    assert arcus.curl(f"{web.url}/hello").status == 200


def test_c20_more_and_fewer_workers_under_load(arcus: Running, web: WebServer) -> None:
    config = changed(arcus)
    with steady(arcus, web) as load:
        for count in (4, 1, 3):
            assert arcus.reload(config | {"workers": count})["ok"]
            load.further(60)
            assert load.failures == []
    serving = [each for each in arcus.status()["processes"] if each["state"] == "serving"]
    assert sum(each["name"].startswith("worker") for each in serving) == 3


def test_c20_what_only_a_start_can_change_is_named(arcus: Running, tmp_path: Path) -> None:
    """The command would look for an Arcus on the new directory, so a signal asks."""
    arcus.rewrite(changed(arcus, state_dir=str(tmp_path / "elsewhere")))
    arcus.process.send_signal(signal.SIGHUP)
    said = wait_until(lambda: "cannot change while Arcus runs" in (tmp_path / "arcus.log").read_text())
    assert said
    assert "no Arcus runs on" in arcus.arcus("reload").stderr
    assert not (tmp_path / "elsewhere").exists()


def test_c20_sighup_reloads(arcus: Running, web: WebServer) -> None:
    arcus.rewrite(changed(arcus, server=[*arcus.config["server"], listener("more")]))
    arcus.process.send_signal(signal.SIGHUP)
    wait_until(lambda: arcus.status()["generation"] == 2)
    assert arcus.curl(f"{web.url}/hello", via="more").status == 200


def test_c20_a_reload_while_a_reload_runs_is_refused(arcus: Running) -> None:
    def ask(answers: list[dict[str, Any]]) -> None:
        answers.append(client.ask(arcus.state / "run", protocol.write_request("reload"), 90))

    answers: list[dict[str, Any]] = []
    threads = [threading.Thread(target=ask, args=(answers,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert sorted(answer["ok"] for answer in answers) == [False, False, False, True]
    assert {each["message"] for answer in answers for each in answer["problems"]} == {
        "another reload is under way; try again when it has ended"
    }
    assert arcus.status()["generation"] == 2


def test_err_12_workers_killed_in_the_middle_of_a_reload(arcus: Running, web: WebServer) -> None:
    """Old ones and new ones: the reload ends, and two of the new generation serve."""
    asking = threading.Thread(target=arcus.reload)
    old = pids(arcus, "worker")
    asking.start()
    fresh = wait_until(lambda: pids(arcus, "worker") - old)
    for pid in (*fresh, next(iter(old))):
        os.kill(pid, signal.SIGKILL)
    asking.join(90)
    status = arcus.status()
    assert status["generation"] == 2
    wait_until(lambda: _serving(arcus, 2) == 2)
    assert arcus.curl(f"{web.url}/hello").status == 200


def _serving(arcus: Running, generation: int) -> int:
    processes = arcus.status()["processes"]
    return sum(
        each["name"].startswith("worker-") and each["state"] == "serving" and each["generation"] == generation
        for each in processes
    )


def test_c20_workers_that_do_not_come_up_leave_the_old_ones_in_place(arcus: Running, web: WebServer) -> None:
    """A dozen workers need longer than the second they get."""
    old, config = pids(arcus, "worker"), changed(arcus)
    with steady(arcus, web) as load:
        told = arcus.reload(config | {"workers": 12, "reload": {"ready_timeout": "1s"}})
        assert not told["ok"]
        assert "not ready within 1 s: worker-" in told["problems"][0]["message"]
        load.further()
        assert load.failures == []
    assert pids(arcus, "worker") == old
    assert arcus.reload(config)["ok"]


def test_tls_12_a_ticket_is_good_after_a_reload_and_not_for_another_ca(arcus: Running, web: WebServer) -> None:
    """The seed of ticket keys is the parent's; what a ticket is good for is part of it."""
    clients = [Client(arcus, web) for _ in range(2)]
    assert [client.fetch("/first") for client in clients] == [False, False]
    assert arcus.reload()["ok"]
    assert clients[0].fetch("/second")
    assert arcus.arcus("ca", "rotate", "--tenant", "default").returncode == 0
    assert arcus.arcus("ca", "switch", "--anyway", "--reload", "--tenant", "default").returncode == 0
    clients[1]._context.load_verify_locations(arcus.ca())
    assert not clients[1].fetch("/third")


def test_c21_a_ca_is_replaced_by_reloads_and_no_client_that_trusts_both_notices(arcus: Running, web: WebServer) -> None:
    old = arcus.ca().read_text()
    assert arcus.arcus("ca", "rotate", "--tenant", "default").returncode == 0
    both = old + (arcus.state / "ca" / ".default.next" / "ca.pem").read_text()
    with steady(arcus, web, cas=both) as load:
        for step in (("switch", "--anyway"), ("rollback",), ("switch", "--anyway")):
            signer = pids(arcus, "signer")
            done = arcus.arcus("ca", *step, "--reload", "--tenant", "default")
            assert done.returncode == 0, done.stderr
            assert "restarted: signer, worker, admin" in done.stderr
            load.further(60)
            assert load.failures == []
            assert pids(arcus, "signer") != signer
    assert arcus.ca().read_text() != old
    assert arcus.curl(f"{web.tls_url}/hello", "--cacert", arcus.ca()).status == 200
    assert arcus.curl("http://arcus.internal/arcus-ca.pem").body.decode() == arcus.ca().read_text()


def test_c20_a_spliced_tunnel_lives_on_and_an_idle_connection_is_closed_later(arcus: Running, web: WebServer) -> None:
    rules = [{"name": "all", "action": "splice"}]
    interception = arcus.config["auditor"][0]["tls_interception"]
    auditor = {"name": "inspect", "tls_interception": interception | {"rules": rules}}
    told = arcus.reload(changed(arcus, auditor=[auditor], reload={"drain": "20s"}))
    assert told["ok"], told
    tunnel = subprocess.Popen(
        ["curl", "-sS", "--proxy", f"http://127.0.0.1:{arcus.port('explicit')}", "--cacert", str(web.ca_file),
         f"{web.tls_url}/drip/tunnel?100"], stdout=subprocess.PIPE,
    )  # fmt: skip
    wait_until(lambda: web.seen("/drip/tunnel"))
    with dial(arcus.port("explicit")) as idle:
        old = pids(arcus, "worker")
        assert arcus.reload()["ok"]
        assert old & pids(arcus, "worker"), "the one with the tunnel is still there"
        body, _ = tunnel.communicate(timeout=60)
        assert (tunnel.returncode, len(body)) == (0, 100 * 1024)
        assert read_all(idle, 40) == b""
    wait_until(lambda: not old & pids(arcus, "worker"), 40)


def test_c20_code_that_was_replaced_on_disk_is_told(tmp_path: Path, config: dict[str, Any]) -> None:
    """The package is copied, started from there, and changed under the running parent."""
    home = tmp_path / "code"
    home.mkdir()
    for package in ("appliance", "addons", "certs", "icap"):
        subprocess.run(["cp", "-r", str(ROOT / package), str(home)], check=True)
    with running(config, tmp_path, root=home) as arcus:
        with (home / "appliance" / "__init__.py").open("a") as file:
            file.write("\n# a newer release\n")
        told = client.ask(arcus.state / "run", protocol.write_request("reload"), 90)
        assert not told["ok"]
        assert "replaced on disk" in told["problems"][0]["message"]
        old = pids(arcus, "worker")
        os.kill(max(old), signal.SIGKILL)
        wait_until(lambda: "restart Arcus as a whole" in (tmp_path / "arcus.log").read_text())
        health = (arcus.state / "run" / "health-parent.json").read_text
        wait_until(lambda: "was replaced on disk" in health())
        assert min(old) in pids(arcus, "worker"), "what runs is left alone"


def test_what_the_person_reads(arcus: Running) -> None:
    done = arcus.arcus("reload")
    assert done.stdout.split("\n")[:2] == ["generation 2 serves", "  nothing changed in the file"]
    shown = arcus.arcus("status").stdout
    assert f"{arcus.file} sha256 " in shown
    assert "worker-1" in shown
    assert time.strftime("%Y-") in shown
    nobody = subprocess.run(
        [sys.executable, "-m", "appliance.cli", "status"], cwd=arcus.file.parent, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert nobody.returncode == 0, "the default's state directory is the one beside"
