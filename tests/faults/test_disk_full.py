"""The disk of the audit spool is full: nothing new passes without a record, everybody gets an answer, and it ends by itself."""

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.records import records
from tests.e2e.running import Answer, Running, base_config, running, wait_until
from tests.e2e.scanners import auditor
from tests.e2e.sockets import connect, hello, read_all
from tests.e2e.webserver import WebServer, webserver
from tests.ports import free_port

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs root to mount a small tmpfs"),
]


@dataclass
class Scene:
    appliance: Running
    web: WebServer
    spool: Path

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Not one byte is left, until the end of the block."""
        filler = self.spool / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 512):
                pass
        try:
            yield
        finally:
            filler.unlink()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    spool = tmp_path / "state" / "spool"
    spool.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(spool)], check=True)
        stack.callback(subprocess.run, ["umount", "--lazy", str(spool)], check=True)
        web = stack.enter_context(webserver(tmp_path))
        icap = {"listen": {"address": f"127.0.0.1:{free_port()}"}, "scanner": {"type": "clamd", "tcp": "127.0.0.1:9"}}
        # holds bodies, finds nothing and needs no scanner
        made = auditor("inspect", web, f"icap://{icap['listen']['address']}/echo", icap_health=None)
        made["tls_interception"]["splice"] = ["spliced.test"]
        config = base_config(tmp_path / "state", auditor=[made], icap_server=icap)
        config["resolver"][0]["hosts"]["spliced.test"] = ["127.0.0.1"]
        config["server"].append({"name": "socks", "type": "socks_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}})
        yield Scene(stack.enter_context(running(config, tmp_path)), web, spool)


def test_log_10_a_full_disk_refuses_new_tasks_and_recovers(scene: Scene) -> None:
    appliance, web = scene.appliance, scene.web
    assert appliance.curl(web.url + "/before").status == 200
    # its record is longer than what may be left in the page that the segment has already
    url = f"{web.url}/wait/under-way/{'x' * 6000}?1500"
    answers: list[Answer] = []
    slow = threading.Thread(target=lambda: answers.append(appliance.curl(url, check=False)))
    slow.start()
    wait_until(lambda: web.seen("/under-way"))
    with scene.full():
        slow.join(30)
        assert answers[0].body != b"at last\n", "its record could not be written, so it was not released"
        assert answers[0].status in (0, 500, 503)
        before = len(web.requests)
        for url, args in ((web.url, ()), (web.tls_url, ("--cacert", appliance.ca()))):
            refused = appliance.curl(*args, url + "/refused", check=False)
            assert refused.status in (0, 500, 503)
        with connect(appliance.port("explicit"), f"spliced.test:{web.tls_port}") as sock:
            sock.sendall(hello("spliced.test"))
            assert b"\x16\x03" not in read_all(sock)[:2], "the server is not spoken to"
        assert len(web.requests) == before
        health = appliance.curl(f"http://127.0.0.1:{appliance.admin_port}/health", via=None, check=False)
        assert health.status in (0, 200, 503)
    wait_until(lambda: appliance.curl(web.url + "/after").status == 200, 20, "it works again")
    assert records(appliance, "/after")
    assert appliance.process.poll() is None
