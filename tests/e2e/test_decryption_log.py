"""C4, AUD-04: every category of TLS failure, provoked by a real client or server, with what the record says of both sides."""

import base64
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certs.fingerprint import certificate_sha256
from tests.e2e import origins, sockets, tls_peers
from tests.e2e.counters import counter, rises
from tests.e2e.running import ROOT, Running, base_config, running, wait_until
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-tls-log")]

HOSTS = ("origin.test", "pinned.test", "other.test", "elsewhere.test")


@dataclass
class Place:
    arcus: Running
    secure: origins.Origin
    directory: Path
    trusted: origins.Authority

    @property
    def proxy(self) -> int:
        return self.arcus.port("explicit")

    def curl(self, url: str, *more: str | Path, source: str = "127.0.0.1") -> Any:
        return self.arcus.curl("--cacert", self.arcus.ca(), "--interface", source, *more, url)

    def failure(self, **wanted: Any) -> dict[str, Any]:
        return self.arcus.event(**wanted)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("tls-log")
    trusted = origins.authority(directory)
    config = base_config(
        directory / "state",
        resolver=[{"name": "local", "type": "system", "hosts": {host: ["127.0.0.1"] for host in HOSTS}}],
        auditor=[origins.trusting(trusted)],
        server=[
            {
                "name": "explicit", "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"},
                "timeouts": {"handshake": "2s"},
            }
        ],
    )  # fmt: skip
    with origins.origin(context=trusted.context(*HOSTS)) as secure, running(config, directory) as arcus:
        yield Place(arcus, secure, directory, trusted)


def category(event: dict[str, Any]) -> tuple[str, str]:
    return event.get("tls_failure", ""), event.get("tls_failure_side", "")


# -- what stands in the record of a connection that works


def test_aud_04_both_sides_and_both_chains_are_in_the_record(place: Place) -> None:
    """AUD-04: versions, ciphers, ALPN, SNI, fingerprints of what was sent, forged serial and CA, JA3 and JA4."""
    with (
        sockets.connect(place.proxy, f"origin.test:{place.secure.port}", source="127.0.1.1") as tunnel,
        sockets.tls(tunnel, "origin.test", place.arcus.ca()) as sock,
    ):
        leaf = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")
        version, cipher = sock.version(), sock.cipher()
        sock.sendall(f"GET /log HTTP/1.1\r\nHost: origin.test:{place.secure.port}\r\n\r\n".encode())
        assert sockets.read_response(sock)[0] == 200
    event = place.arcus.event(url=f"{place.secure.url}/log")
    client, server = event["client_tls"], event["server_tls"]
    authority = x509.load_pem_x509_certificate(place.arcus.ca().read_bytes())
    assert cipher is not None
    assert (client["version"], client["cipher"], client["alpn"], client["sni"]) == (
        version,
        cipher[0],
        "http/1.1",
        "origin.test",
    )
    assert client["certificate"]["serial"] == f"{leaf.serial_number:x}"
    assert client["chain_sha256"] == [certificate_sha256(leaf)]
    assert client["ca_sha256"] == certificate_sha256(authority)
    assert (server["version"], server["sni"], server["verify"]) == ("TLSv1.3", "origin.test", "ok")
    assert server["certificate"]["sha256"] == server["chain_sha256"][0]
    assert re.fullmatch(r"t1[23]d\d{4}h1_[0-9a-f]{12}_[0-9a-f]{12}", event["client_hello"]["ja4"])
    assert re.fullmatch(r"[0-9a-f]{32}", event["client_hello"]["ja3"])
    assert (event["decrypt"], event["decrypt_rule"]) == ("intercept", "default")
    assert "tls_failure" not in event


# -- the client's side


def test_c4_client_reject(place: Place) -> None:
    """C4 client_reject: a client without our CA."""
    before = counter(place.arcus, "arcus_tls_failures_total", "client", "client_reject")
    got = place.arcus.curl("--interface", "127.0.2.1", f"{place.secure.url}/")
    assert got.code == 60
    event = place.failure(source_ip="127.0.2.1")
    assert category(event) == ("client_reject", "client")
    assert (event["reason"], event["client_tls"]["alert"]) == ("client_rejected_leaf", "unknown_ca")
    assert event["client_tls"]["version"] == "TLSv1.3"
    assert event["client_tls"]["cipher"].startswith("TLS_")
    rises(place.arcus, before, "arcus_tls_failures_total", "client", "client_reject")


def test_c4_pinned_by_key(place: Place) -> None:
    """C4 pinned: a client that trusts the CA compares the key after its handshake, and leaves."""
    pin = base64.b64encode(b"\0" * 32).decode()
    got = place.curl(f"https://pinned.test:{place.secure.port}/", "--pinnedpubkey", f"sha256//{pin}", source="127.0.2.2")
    assert got.code == 90
    event = place.failure(source_ip="127.0.2.2")
    assert category(event) == ("pinned", "client")
    assert event["client_tls"]["cipher"]


def test_c4_pinned_is_who_refuses_here_and_trusts_elsewhere(place: Place) -> None:
    """C4 pinned: the same program, from the same address, accepted our CA for another site before."""
    own, other = place.arcus.ca(), place.trusted.pem
    source = "127.0.2.3"
    assert place.curl(f"https://elsewhere.test:{place.secure.port}/", source=source).status == 200
    assert place.arcus.event(source_ip=source, status=200)
    got = place.arcus.curl("--cacert", other, "--interface", source, f"https://pinned.test:{place.secure.port}/")
    assert got.code == 60, own
    event = place.failure(source_ip=source, destination_host="pinned.test")
    assert category(event) == ("pinned", "client")
    assert event["client_tls"]["trusts"] is True
    assert event["reason"] == "client_rejected_leaf"


def test_c4_version_of_the_client(place: Place) -> None:
    target = f"origin.test:{place.secure.port}"
    done = tls_peers.s_client(place.proxy, target, "-tls1", "-cipher", "ALL:@SECLEVEL=0")
    assert "alert protocol version" in done.stderr
    event = place.failure(tls_failure="version")
    assert category(event) == ("version", "client")
    assert event["client_tls"]["alert_sent"] == "protocol_version"
    assert event["client_hello"]["versions"] == [769]


def test_c4_cipher_of_the_client(place: Place) -> None:
    tls_peers.s_client(place.proxy, f"origin.test:{place.secure.port}", "-tls1_2", "-cipher", "AES128-SHA")
    event = place.failure(tls_failure="cipher")
    assert category(event) == ("cipher", "client")
    assert event["client_tls"]["alert_sent"] == "handshake_failure"


def test_c4_protocol_of_the_client(place: Place) -> None:
    """C4 protocol: a ClientHello, then records that are none."""
    with sockets.connect(place.proxy, f"origin.test:{place.secure.port}", source="127.0.2.4") as sock:
        sock.sendall(sockets.hello("origin.test"))
        sock.recv(65536)
        sock.sendall(b"\x16\x03\x03\x00\x04junk")
        sockets.read_all(sock)
    assert category(place.failure(source_ip="127.0.2.4")) == ("protocol", "client")


def test_c4_resource_a_handshake_that_takes_too_long(place: Place) -> None:
    with sockets.connect(place.proxy, f"origin.test:{place.secure.port}", source="127.0.2.5") as sock:
        sock.sendall(sockets.hello("origin.test"))
        sockets.read_all(sock)
    event = place.failure(source_ip="127.0.2.5")
    assert (*category(event), event["reason"]) == ("resource", "client", "handshake_timeout")


def test_c4_resume_with_a_ticket_that_is_not_its_own(place: Place) -> None:
    """C4 resume: a client that has our ticket, but not the secret that belongs to it."""
    target, saved = f"origin.test:{place.secure.port}", place.directory / "session.pem"
    request = f"GET / HTTP/1.0\r\nHost: {target}\r\n\r\n"
    done = tls_peers.s_client(
        place.proxy, target, "-sess_out", str(saved), "-CAfile", str(place.arcus.ca()), "-ign_eof", "-tls1_3", text=request
    )
    assert saved.exists(), done.stderr
    saved.write_text(_spoiled(saved.read_text()))
    tls_peers.s_client(place.proxy, target, "-sess_in", str(saved), "-ign_eof", "-tls1_3", text=request)
    event = place.failure(tls_failure="resume")
    assert category(event) == ("resume", "client")


def _spoiled(pem: str) -> str:
    """An SSL_SESSION whose master key has other bits: the longest OCTET STRING of 32 or 48 octets before the ticket."""
    head, body, tail = re.split(r"-----\n|\n-----", pem.strip() + "\n", maxsplit=2)
    der = bytearray(base64.b64decode(body))
    found = re.search(rb"\x04\x20|\x04\x30", bytes(der)[40:])
    assert found is not None
    der[40 + found.end() + 3] ^= 0xFF
    return f"{head}-----\n{base64.encodebytes(bytes(der)).decode().strip()}\n-----{tail}"


# -- the server's side

type Peer = AbstractContextManager[int]


@pytest.mark.parametrize(
    ("case", "options", "wanted", "alert"),
    [
        ("version", ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "version", "protocol_version"),
        ("cipher", ("-tls1_2", "-cipher", "AES128-SHA"), "cipher", "handshake_failure"),
        ("mtls 1.3", ("-Verify", "1", "-verify_return_error"), "mtls", "certificate_required"),
        ("mtls 1.2", ("-Verify", "1", "-verify_return_error", "-tls1_2"), "mtls", "handshake_failure"),
    ],
)
def test_c4_failures_of_servers(place: Place, case: str, options: tuple[str, ...], wanted: str, alert: str) -> None:
    with tls_peers.s_server(place.trusted, *options) as port:
        got = place.curl(f"https://origin.test:{port}/")
    assert got.status == 502, case
    event = place.failure(destination_port=port)
    assert category(event) == (wanted, "server"), event
    assert event["server_tls"].get("alert") == alert
    assert event["server_tls"].get("asked_certificate", False) is (wanted == "mtls")
    assert event["reason"] == ("upstream_client_cert" if wanted == "mtls" else f"upstream_tls_{wanted}")
    assert "mitmproxy" not in str(event["server_tls"])


def test_c4_feature_alpn_in_common_with_nobody(place: Place) -> None:
    """C4 feature: the server speaks HTTP/2 only, and the client HTTP/1.1 only."""
    with tls_peers.s_server(place.trusted, "-alpn", "spdy/3") as port:
        place.curl(f"https://origin.test:{port}/", "--http1.1")
        event = place.failure(destination_port=port)
    assert category(event) == ("feature", "server"), event
    assert event["server_tls"]["alert"] == "no_application_protocol"


def test_c4_certificate_of_the_server(place: Place) -> None:
    context = place.trusted.context("origin.test", expired=True)
    with origins.origin(context=context) as expired:
        assert place.curl(f"{expired.url}/").status == 502
        event = place.failure(destination_port=expired.port)
    assert category(event) == ("certificate", "server")
    assert event["server_tls"]["verify"].startswith("upstream_cert_expired")
    assert event["server_tls"]["certificate"]["sha256"] == event["server_tls"]["chain_sha256"][0]


@pytest.mark.parametrize("reply", [b"HTTP/1.0 400 Bad Request\r\n\r\n", b"\x16\x03\x03\x00\x02\x02\x00", b""])
def test_c4_protocol_of_a_server_that_speaks_no_tls(place: Place, reply: bytes) -> None:
    with tls_peers.speaker(reply) as port:
        assert place.curl(f"https://origin.test:{port}/").status == 502
        assert category(place.failure(destination_port=port)) == ("protocol", "server")


def test_c4_the_log_is_asked_by_category(place: Place) -> None:
    """C4: `arcus audit query 'tls_failure: client_reject'`."""
    place.arcus.curl("--interface", "127.0.2.9", f"{place.secure.url}/")
    wait_until(lambda: place.arcus.events(source_ip="127.0.2.9"), 15, "the record")
    found = wait_until(lambda: _query(place, "tls_failure: client_reject and alert: unknown_ca and client: 127.0.2.9"), 15)
    assert "client_rejected_leaf" in found
    assert not _query(place, "tls_failure: certificate and client: 127.0.2.9")


def _query(place: Place, text: str) -> str:
    command = [
        sys.executable,
        "-m",
        "appliance.cli",
        "audit",
        "query",
        text,
        "-c",
        str(place.directory / "arcus.yaml"),
        "--json",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_c4_a_client_that_is_gone_before_our_certificate_is_no_pin(place: Place) -> None:
    with socket.create_connection(("127.0.0.1", place.proxy), 10, ("127.0.2.6", 0)) as sock:
        sock.sendall(f"CONNECT origin.test:{place.secure.port} HTTP/1.1\r\n\r\n".encode())
        sock.recv(1000)
        sock.sendall(sockets.hello("origin.test")[:50])
    assert "tls_failure" not in place.failure(source_ip="127.0.2.6")
