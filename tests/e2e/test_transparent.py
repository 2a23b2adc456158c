"""Transparent interception in network namespaces, by nft redirect and by tproxy: the client knows of nothing."""

import contextlib
import hashlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import netns
from tests.e2e.netns import CLIENT_IP, SERVER_IP, Gateway, gateway
from tests.e2e.records import record
from tests.e2e.running import Answer, Running, base_config, running, wait_until
from tests.e2e.scanners import auditor
from tests.e2e.webserver import WebServer, payload, webserver
from tests.servers import EICAR

WHY_NOT = netns.why_not()
pytestmark = [pytest.mark.e2e, pytest.mark.netns, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-")]
PORT = 8081
ICAP_PORT = 1344
TUNNEL_IDLE = 2
ALERT = {"action": "block", "page": False}
NAMELESS = {"block": "10.71.0.11", "alert": "10.71.0.12", "splice": "10.71.0.13"}
"""Addresses of clients whose tenants say what happens to a hello without a server name."""
GREETING = b"220 mail.test ESMTP\r\n"


@dataclass
class Scene:
    net: Gateway
    appliance: Running
    web: WebServer
    echo_port: int
    greeter_port: int

    def curl(self, url: str, *args: str | Path) -> Answer:
        """curl as the client: no proxy, no CA of its own but what a managed client has."""
        command = [*self.net.inside(self.net.client), "curl", "-sS", "--max-time", "20", "--noproxy", "*"]
        names = [f"origin.test:{port}:{SERVER_IP}" for port in (self.web.port, self.web.tls_port)]
        command += [part for name in names for part in ("--resolve", name)]
        command += [
            "--cacert",
            str(self.appliance.ca()),
            "--dump-header",
            "-",
            "--write-out",
            "\n%{json}",
            *map(str, args),
            url,
        ]
        done = subprocess.run(command, capture_output=True, check=False, timeout=40)
        return Answer.parse(done.returncode, done.stdout, done.stderr.decode())

    def dial(self, port: int) -> socket.socket:
        """A connection of the client's to the server."""
        with netns.entered(self.net.client):
            sock = socket.socket()
        sock.settimeout(20)
        sock.connect((SERVER_IP, port))
        return sock


@pytest.fixture(scope="module", params=["redirect", "tproxy"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp(request.param)
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(gateway(f"arcus-{request.param[:2]}"))
        with netns.entered(net.server):
            echo, greeter = (stack.enter_context(socket.create_server((SERVER_IP, 0))) for _ in range(2))
        web = stack.enter_context(_web_in(net, directory))
        threading.Thread(target=_echo, args=(echo, b""), daemon=True).start()
        threading.Thread(target=_echo, args=(greeter, GREETING), daemon=True).start()
        net.nft(getattr(netns, request.param)(PORT))
        for address in NAMELESS.values():
            subprocess.run(["ip", "-n", net.client, "address", "add", f"{address}/24", "dev", "eth0"], check=True)
        config = _config(directory / "state", web, request.param)
        appliance = stack.enter_context(running(config, directory, net.inside(net.gateway)))
        made = Scene(net, appliance, web, echo.getsockname()[1], greeter.getsockname()[1])
        wait_until(lambda: made.curl(f"{web.url}/ready").status == 200, 40, "clamd is ready")
        yield made


@contextlib.contextmanager
def _web_in(net: Gateway, directory: Path) -> Iterator[WebServer]:
    """The thread of the server takes its namespace from the thread that starts it."""
    with contextlib.ExitStack() as stack:
        with netns.entered(net.server):
            web = stack.enter_context(webserver(directory, SERVER_IP, ("origin.test", SERVER_IP)))
        yield web


def _config(state: Path, web: WebServer, mode: str) -> dict[str, object]:
    services = (f"icap://127.0.0.1:{ICAP_PORT}/reqmod", f"icap://127.0.0.1:{ICAP_PORT}/respmod")
    listen = {"address": "0.0.0.0:8081" if mode == "redirect" else "127.0.0.1:8081"}
    server = {"name": "wire", "type": "tcp_tproxy", "mode": mode, "listen": listen, "timeouts": {"tunnel_idle": TUNNEL_IDLE}}
    nameless = [auditor(name, web, *services) for name in NAMELESS]
    for node, setting in zip(nameless, ({"action": "block", "reason": "say where to"}, ALERT, "splice"), strict=True):
        node["tls_interception"]["no_sni"] = setting
    tenants = [
        {"tenant_id": name, "ca": "default", "auditor": name, "escaper": "direct", "match": {"networks": [f"{address}/32"]}}
        for name, address in NAMELESS.items()
    ]
    default = {"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct"}
    config = base_config(
        state,
        tenant=[default, *tenants],
        auditor=[auditor("inspect", web, *services, unknown_protocol="bypass"), *nameless],
        server=[server],
        icap_server={"listen": {"address": f"127.0.0.1:{ICAP_PORT}"}, "scanner": {"type": "clamd", "managed": True}},
    )
    config["resolver"][0]["hosts"] = {"origin.test": [SERVER_IP]}
    config["escaper"][0]["egress_network_filter"] = {"allow": ["10.72.0.0/24"]}
    return config


def _echo(listener: socket.socket, greeting: bytes) -> None:
    """Sends everything back after the client's end; whoever sends ``hello`` is greeted at once.

    What is in the socket's buffers is read within a moment, whatever its size: to the relay, a slow reader is an idle one.
    """

    def serve(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            data = bytearray()
            sock.sendall(greeting)
            while piece := sock.recv(65536):
                data += piece
                if data == b"\x00hello":
                    sock.sendall(b"\x00greetings")
            sock.sendall(data)

    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def test_srv_07_plain_http_is_inspected(scene: Scene) -> None:
    answer = scene.curl(f"{scene.web.url}/bytes/100000/plain")
    assert (answer.status, answer.body) == (200, payload(100_000))
    event = record(scene.appliance, "/bytes/100000/plain")
    assert event["original_dst"] == f"{SERVER_IP}:{scene.web.port}"
    assert (event["source_ip"], event["protocol"], event["server"]) == (CLIENT_IP, "tproxy", "wire")
    assert [scan["outcome"] for scan in event["scans"]] == ["clean", "clean"]


def test_c19_a_hello_without_a_name(scene: Scene) -> None:
    """C19, SRV-07: the setting ``no_sni``, where nothing but an address is known."""
    url = f"https://{SERVER_IP}:{scene.web.tls_port}/bytes/10/nameless"
    blocked = scene.curl(url, "--interface", NAMELESS["block"], "--insecure")
    assert (blocked.status, b"say where to" in blocked.body) == (403, True)
    assert scene.curl(url, "--interface", NAMELESS["alert"], "--insecure").code == 35
    spliced = scene.curl(url, "--interface", NAMELESS["splice"], "--insecure")
    assert (spliced.status, spliced.body) == (200, payload(10))
    for name, kind in (("block", "request"), ("alert", "tunnel"), ("splice", "tunnel")):
        event = scene.appliance.event(tenant_id=name, kind=kind)
        assert event["decrypt_rule"] == "no_sni", name
        assert event["original_dst"] == f"{SERVER_IP}:{scene.web.tls_port}"
    named = scene.curl(f"{scene.web.tls_url}/bytes/10/named", "--interface", NAMELESS["block"])
    assert named.status != 403, "a client that names a server is not meant"


def test_srv_07_tls_is_decrypted_and_inspected(scene: Scene) -> None:
    answer = scene.curl(f"{scene.web.tls_url}/bytes/100000/tls")
    assert (answer.status, answer.body) == (200, payload(100_000))
    event = record(scene.appliance, "/bytes/100000/tls")
    assert event["original_dst"] == f"{SERVER_IP}:{scene.web.tls_port}"
    assert (event["client_hello"]["sni"], event["decrypt"], event["scheme"]) == ("origin.test", "intercept", "https")


def test_srv_07_tls_to_an_address_without_a_name(scene: Scene) -> None:
    answer = scene.curl(f"https://{SERVER_IP}:{scene.web.tls_port}/by-address")
    assert answer.status == 200, answer.error
    assert record(scene.appliance, "/by-address")["destination_host"] == SERVER_IP


def test_srv_07_eicar_is_blocked_both_ways(scene: Scene) -> None:
    """ICP-01, ICP-02"""
    for base in (scene.web.url, scene.web.tls_url):
        down = scene.curl(f"{base}/eicar")
        assert (down.status, EICAR in down.body) == (403, False)
        up = scene.curl(f"{base}/up", "--data-binary", EICAR.decode())
        assert up.status == 403
    assert scene.web.infected == []


def test_srv_07_aud_01_unknown_tcp_is_relayed_and_half_closed(scene: Scene) -> None:
    """TCP-02: the client's end comes before the server's first byte."""
    data = b"\x00" + payload(20_000_000)
    with scene.dial(scene.echo_port) as sock:
        sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        back = b"".join(iter(lambda: sock.recv(65536), b""))
        sender.join(20)
    assert hashlib.sha256(back).hexdigest() == hashlib.sha256(data).hexdigest()
    event = record(scene.appliance, bytes_received=len(data))
    assert (event["kind"], event["scheme"], event["action"]) == ("tunnel", "tcp", "allow")
    assert event["original_dst"] == f"{SERVER_IP}:{scene.echo_port}"
    assert event["bytes_sent"] == len(data)
    assert event["not_scanned"] == ["spliced"]


def test_aud_01_a_server_that_speaks_first_is_heard(scene: Scene) -> None:
    with scene.dial(scene.greeter_port) as sock:
        assert sock.recv(100) == GREETING
        sock.sendall(b"QUIT\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b"QUIT\r\n"
    event = record(scene.appliance, destination_port=scene.greeter_port)
    assert (event["scheme"], event["bytes_received"]) == ("tcp", 6)


def test_aud_01_ssh_is_no_http(scene: Scene) -> None:
    banner = b"SSH-2.0-OpenSSH_9.2\r\n"
    with scene.dial(scene.echo_port) as sock:
        sock.sendall(banner)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == banner
    assert record(scene.appliance, bytes_received=len(banner))["scheme"] == "tcp"


def test_tcp_06_a_relay_is_ended_only_when_both_directions_are_idle(scene: Scene) -> None:
    with scene.dial(scene.echo_port) as sock:
        sock.sendall(b"\x00hello")
        assert sock.recv(100) == b"\x00greetings"
        with contextlib.suppress(ConnectionError):
            assert sock.recv(100) == b""
    event = record(scene.appliance, destination_port=scene.echo_port, bytes_sent=len(b"\x00greetings"))
    assert event["reason"] == "idle_timeout"
    assert event["duration_ms"] >= TUNNEL_IDLE * 1000


def test_aud_01_the_bytes_decide_and_not_the_port(scene: Scene) -> None:
    """Plain HTTP to the port where the server speaks TLS is inspected as HTTP; it is the server that does not answer it."""
    answer = scene.curl(f"http://origin.test:{scene.web.tls_port}/odd")
    assert answer.status == 502
    event = record(scene.appliance, "/odd")
    assert (event["scheme"], event["reason_source"], event["destination_port"]) == ("http", "upstream", scene.web.tls_port)
    assert "client_hello" not in event


def test_srv_07_a_client_that_names_the_listener_itself_is_refused(scene: Scene) -> None:
    """Nobody redirected it: with redirect there is no destination, with tproxy it is the listener, to which no way leads."""
    with netns.entered(scene.net.gateway):
        sock = socket.socket()
    with sock:
        sock.settimeout(20)
        sock.connect(("127.0.0.1", PORT))
        sock.sendall(f"GET /itself HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n\r\n".encode())
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = sock.recv(100)
    if scene.appliance.config["server"][0]["mode"] == "redirect":
        assert answer == b""
        assert record(scene.appliance, reason="bad_request")["detail"] == "not redirected here"
    else:
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert record(scene.appliance, "/itself")["reason"] == "egress_denied"
