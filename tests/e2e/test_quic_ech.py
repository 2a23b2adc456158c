"""C13: behind the rules in compose/nft, with a browser and with clients that mean Encrypted Client Hello."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import ech, netns, origins
from tests.e2e.chromium import browser, install, why_not
from tests.e2e.netns import SERVER_IP, Gateway
from tests.e2e.records import record
from tests.e2e.running import ROOT, Running, base_config, running
from tests.proxies import nginx

WHY_NOT, NO_BROWSER = netns.why_not(), why_not()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.netns,
    pytest.mark.xdist_group("e2e-quic"),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-"),
]
NAMES = ("public.test", "secret.test")
PORT = 8081


@dataclass
class Scene:
    net: Gateway
    arcus: Running
    directory: Path
    mode: str

    def curl(self, name: str, path: str, *args: str) -> "subprocess.CompletedProcess[str]":
        command = [*self.net.inside(self.net.client), "curl", "-sS", "-i", "--max-time", "20", "--noproxy", "*", *args]
        command += ["--resolve", f"{name}:443:{SERVER_IP}", "--cacert", str(self.arcus.ca()), f"https://{name}{path}"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=40)


@pytest.fixture(scope="module", params=["redirect", "tproxy"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp(f"quic-{request.param}")
    trusted = origins.authority(directory)
    offered = """add_header Alt-Svc 'h3=":443"; ma=86400, h2="other.test:443"' always;"""
    page = f'default_type text/html; {offered} return 200 "<p>here</p>";'
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(netns.gateway(f"arcus-q{request.param[0]}"))
        with netns.entered(net.server):
            stack.enter_context(nginx(host=SERVER_IP, tls=trusted.files(*NAMES), http2=True, server=page, port=443))
        net.nft(_shipped(request.param))
        arcus = stack.enter_context(running(_config(directory, trusted, request.param), directory, net.inside(net.gateway)))
        yield Scene(net, arcus, directory, request.param)


def _shipped(mode: str) -> str:
    """The rules as they are, for this gateway's interface."""
    rules = (ROOT / "compose" / "nft" / f"{mode}.nft").read_text()
    return rules.replace('"lan0"', '"inside"').replace("8081", str(PORT))


def _config(directory: Path, trusted: origins.Authority, mode: str) -> dict[str, object]:
    way = {"name": "direct", "type": "direct_fixed", "resolver": "local"}
    secret = {"name": "no-secrets", "config": {"hosts": {"exact": ["secret.test"]}, "action": "block"}}
    tenant = {"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct", "policies": [secret]}
    return base_config(
        directory / "state",
        resolver=[{"name": "local", "type": "system", "hosts": {name: [SERVER_IP] for name in NAMES}}],
        escaper=[way | {"egress_network_filter": {"allow": ["10.72.0.0/24"]}}],
        auditor=[origins.trusting(trusted)],
        tenant=[tenant],
        server=[{"name": "wire", "type": "tcp_tproxy", "mode": mode, "listen": {"address": f"0.0.0.0:{PORT}"}}],
    )


def _udp(net: Gateway, port: int) -> tuple[socket.socket, socket.socket]:
    """A server's socket on this port, and a client's that is connected to it."""
    with netns.entered(net.server):
        server = socket.socket(type=socket.SOCK_DGRAM)
    server.bind((SERVER_IP, port))
    with netns.entered(net.client):
        client = socket.socket(type=socket.SOCK_DGRAM)
    client.connect((SERVER_IP, port))
    for sock in (server, client):
        sock.settimeout(10)
    return server, client


def test_c13_quic_is_refused_at_once(scene: Scene) -> None:
    """With an ICMP answer: the client's socket reports it, so a browser need not wait for a timeout."""
    server, client = _udp(scene.net, 443)
    with server, client:
        client.send(b"\xc0\0\0\0\1quic")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.recv(100)


def test_c13_quic_is_dropped_where_the_rules_say_so(scene: Scene) -> None:
    """Nothing comes back, and nothing arrives: the packet is counted where it was thrown away."""
    scene.net.nft(_shipped(scene.mode).replace("define quic = quic_reject", "define quic = quic_drop"))
    try:
        server, client = _udp(scene.net, 443)
        with server, client:
            client.send(b"\xc0\0\0\0\1quic")
            for sock in (client, server):
                sock.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    sock.recv(100)
        listed = subprocess.run(
            [*scene.net.inside(scene.net.gateway), "nft", "list", "ruleset"], capture_output=True, text=True, check=True
        ).stdout
        assert "counter packets 1 bytes" in listed.partition("chain quic_drop")[2].partition("}")[0]
    finally:
        scene.net.nft(_shipped(scene.mode))


def test_c13_other_datagrams_pass(scene: Scene) -> None:
    server, client = _udp(scene.net, 8443)
    with server, client:
        client.send(b"hello")
        assert server.recv(100) == b"hello"


def test_c13_the_same_port_over_tcp_is_inspected_and_nobody_is_sent_to_quic(scene: Scene) -> None:
    """HTTP/2 to both sides."""
    done = scene.curl("public.test", "/tcp", "--http2")
    assert done.stdout.startswith("HTTP/2 200"), done.stderr
    assert "alt-svc" not in done.stdout.lower()
    event = record(scene.arcus, "/tcp")
    assert (event["decrypt"], event["client_tls"]["alpn"], event["server_tls"]["alpn"]) == ("intercept", "h2", "h2")
    assert "tls_ech" not in event


@pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER or "-")
def test_c13_a_browsers_noise_is_told_from_what_is_meant(scene: Scene) -> None:
    """chromium sends GREASE in the shape of ECH to every server, and goes on."""
    names = f"--host-resolver-rules=MAP *.test {SERVER_IP}"
    (scene.directory / "browser").mkdir()
    with browser(scene.directory / "browser", names, ca=scene.arcus.ca(), prefix=scene.net.inside(scene.net.client)) as opened:
        visit = opened.open("https://public.test/grease")
    assert (visit.error, visit.status, visit.protocol) == ("", 200, "h2")
    event = record(scene.arcus, "/grease")
    assert event["client_hello"]["ech"] is True
    assert event["tls_ech"] == "grease"


@pytest.mark.skipif(shutil.which("tstclnt") is None, reason="needs tstclnt (libnss3-tools)")
def test_c13_a_client_that_means_ech_comes_back_without_and_is_judged_by_the_real_name(scene: Scene) -> None:
    """NSS with a configuration as DNS would have it: the outer name is allowed, the inner one is not."""
    home = scene.directory / "nss"
    home.mkdir(exist_ok=True)
    if not (home / ".pki").exists():
        install(home, scene.arcus.ca())
    meant = _tstclnt(scene, home, "-N", ech.config_list("public.test"))
    assert "SSL_ERROR_ECH_RETRY_WITHOUT_ECH" in meant.stdout + meant.stderr
    hidden = record(scene.arcus, tls_ech="fallback")
    assert (hidden["client_hello"]["sni"], hidden["kind"]) == ("public.test", "connection")
    assert hidden["client_tls"]["certificate"]["names"] == ["public.test", "secret.test"]
    again = _tstclnt(scene, home)
    assert "403" in again.stdout, again.stderr
    shown = record(scene.arcus, "/without")
    assert (shown["client_hello"]["sni"], shown["reason"], shown["rule"]) == ("secret.test", "policy_blocked", "no-secrets")


def _tstclnt(scene: Scene, home: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    """Asks for ``secret.test``; it may fail, and then its messages say why."""
    request = scene.directory / "request"
    request.write_bytes(b"GET /without HTTP/1.1\r\nHost: secret.test\r\nConnection: close\r\n\r\n")
    command = [*scene.net.inside(scene.net.client), "tstclnt", "-h", SERVER_IP, "-p", "443", "-a", "secret.test"]
    command += ["-d", f"sql:{home}/.pki/nssdb", "-V", "tls1.3:tls1.3", "-A", str(request), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=40, errors="replace")
