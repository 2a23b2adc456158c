"""TLS sessions used again (TLS-12): with clients, whichever worker they meet and however often it died, and with servers."""

import os
import signal
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.e2e.running import Running, base_config, running, wait_until
from tests.e2e.webserver import WebServer, webserver

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with webserver(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory, web: WebServer) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("resumption")
    anew = {"kept_connections": {"enabled": False}, "upstream_trust": {"ca_files": [str(web.ca_file)]}}
    trusting = {"name": "inspect", "tls_interception": anew}
    with running(base_config(folder / "state", workers=2, auditor=[trusting]), folder) as started:
        yield started


class Client:
    """One TLS client with its memory of sessions."""

    def __init__(self, appliance: Running, web: WebServer, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        self._port, self._origin = appliance.port("explicit"), web.tls_url.removeprefix("https://")
        self._context = ssl.create_default_context(cafile=str(appliance.ca()))
        self._context.maximum_version = version
        self.session: ssl.SSLSession | None = None

    def fetch(self, path: str) -> bool:
        """One request on a connection of its own. Whether the session was resumed."""
        plain = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        plain.sendall(f"CONNECT {self._origin} HTTP/1.1\r\nHost: {self._origin}\r\n\r\n".encode())
        assert b" 200 " in plain.recv(4096)
        name = self._origin.rpartition(":")[0]
        with self._context.wrap_socket(plain, server_hostname=name, session=self.session) as secured:
            secured.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._origin}\r\nConnection: close\r\n\r\n".encode())
            received = b""
            while block := secured.recv(65536):
                received += block
            assert received.startswith(b"HTTP/1.1 200"), received[:300]
            self.session = secured.session
            return bool(secured.session_reused)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
def test_tls_12_a_ticket_is_good_after_every_worker_has_died(
    appliance: Running, web: WebServer, version: ssl.TLSVersion
) -> None:
    client = Client(appliance, web, version)
    assert not client.fetch("/first")
    before = appliance.child_pids("worker")
    assert len(before) == 2
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(now := appliance.child_pids("worker")) == 2 and not set(now) & set(before))
    assert client.fetch("/again")
    # 16 connections meet both workers, or the kernel's choice by the source port is broken
    assert all(client.fetch("/more") for _ in range(16))


def test_tls_12_aud_04_both_sides_say_that_they_resumed(appliance: Running, web: WebServer) -> None:
    client = Client(appliance, web)
    for number in range(8):
        client.fetch(f"/noted/{number}")
    events = [appliance.event(url=f"{web.tls_url}/noted/{number}") for number in range(8)]
    assert not events[0]["client_tls"].get("resumed", False)
    assert all(event["client_tls"]["resumed"] for event in events[1:])
    # two workers, each with sessions of its own: by the third at the latest one of them meets the server again
    resumed = [event for event in events if event["server_tls"].get("resumed")]
    assert len(resumed) >= 6
    for event in resumed:
        assert event["server_tls"]["verify"] == "ok"
        assert event["server_tls"]["certificate"]["sha256"] == events[0]["server_tls"]["certificate"]["sha256"]
        assert event["server_tls"]["chain_sha256"] == events[0]["server_tls"]["chain_sha256"]
