"""The explicit proxy, as clients use it: absolute-form, CONNECT, TLS to the proxy itself, dual stack, filters and caps."""

import secrets
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests.e2e import origins, sockets
from tests.e2e.counters import counter, rises
from tests.e2e.running import Running, base_config, running, wait_until
from tests.ports import free_port
from tests.proxies import Peer, nginx

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-explicit")]

BODY = secrets.token_bytes(300_000)


@dataclass
class Place:
    arcus: Running
    http: Peer
    https: Peer
    seen: origins.Origin
    listener: tuple[Path, Path]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("explicit")
    trusted = origins.authority(directory)
    listener = trusted.files("proxy.test", "127.0.0.1")
    files = directory / "www"
    files.mkdir()
    (files / "file").write_bytes(BODY)
    serve = f"root {files}; default_type application/octet-stream; ssl_protocols TLSv1.2 TLSv1.3;"
    with (
        nginx(server=serve) as http,
        nginx(tls=trusted.files("origin.test", "127.0.0.1"), http2=True, server=serve) as https,
        origins.origin() as seen,
        running(_config(directory, trusted, listener), directory) as arcus,
    ):
        yield Place(arcus, http, https, seen, listener)


def _config(directory: Path, trusted: origins.Authority, listener: tuple[Path, Path]) -> dict[str, object]:
    def server(name: str, **more: object) -> dict[str, object]:
        host = more.pop("host", "127.0.0.1")
        return {"name": name, "type": "http_proxy", "listen": {"address": f"{host}:{free_port()}"}, **more}

    tenants = [
        {"tenant_id": name, "ca": "default", "auditor": "inspect", "escaper": "direct"} for name in ("default", "branch")
    ]
    return base_config(
        directory / "state",
        auditor=[origins.trusting(trusted)],
        tenant=tenants,
        server=[
            server("explicit"),
            server("secure", tls={"certificate": str(listener[0]), "private_key": str(listener[1])}),
            server("dual", host="[::]", ingress_network_filter={"default": "deny", "allow": ["127.0.0.0/8", "::1/128"]}),
            server("branch", tenant_context={"tenant_id": "branch"}, trusted_proxies=["127.0.0.0/8"]),
            server("filtered", ingress_network_filter={"default": "allow", "deny": ["127.0.0.9/32"]}),
            server("strict", ingress_network_filter={"default": "deny", "allow": ["127.0.0.8/32"]}),
            server("small", max_connections=3),
            server("few", limits={"connections_per_client": 2}),
        ],
    )


# -- absolute-form


def test_srv_01_absolute_form_returns_the_same_bytes(place: Place) -> None:
    got = place.arcus.curl(f"http://origin.test:{place.http.port}/file?x=1")
    assert (got.status, got.body == BODY) == (200, True)
    event = place.arcus.event(url=f"http://origin.test:{place.http.port}/file?x=1")
    assert event["tenant_id"] == "default"
    assert event["server"] == "explicit"
    assert event["escape"]["path"] == ["direct"]
    assert event["escape"]["resolved_ip"] == "127.0.0.1"
    assert event["event_type"] in ("request", "response", "allow")
    assert (event["status"], event["bytes_sent"], event["reason"]) == (200, len(BODY), "ok")
    assert place.http.log("/file?x=1")


def test_srv_01_the_origin_sees_an_ordinary_request(place: Place) -> None:
    place.seen.clear()
    place.arcus.curl("-H", "Proxy-Connection: keep-alive", "-H", "X-Tenant-ID: other", f"{place.seen.url}/plain")
    seen = place.seen.requests[-1]
    assert seen.line == "GET /plain HTTP/1.1"
    assert seen.values("host") == [f"origin.test:{place.seen.port}"]
    for name in ("proxy-connection", "proxy-authorization", "x-tenant-id"):
        assert seen.values(name) == []


def test_srv_01_one_connection_carries_many_requests(place: Place) -> None:
    url = f"http://origin.test:{place.http.port}/file"
    got = place.arcus.curl("-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null", url, url, url)
    assert got.info["num_connects"] == 0
    events = wait_until(lambda: found if len(found := place.arcus.events(url=url)) == 3 else None, 10, "three events")
    assert len({event["conn_id"] for event in events}) == 1


def test_srv_01_a_connect_may_follow_on_the_same_connection(place: Place) -> None:
    with sockets.dial(place.arcus.port("explicit")) as sock:
        host = f"origin.test:{place.seen.port}"
        sock.sendall(f"GET {place.seen.url}/first HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert sockets.read_response(sock)[2] == b"ok"
        target = f"origin.test:{place.https.port}"
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert sockets.read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        with sockets.tls(sock, "origin.test", place.arcus.ca()) as inner:
            inner.sendall(f"GET /file HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            assert sockets.read_response(inner)[2] == BODY


# -- CONNECT


@pytest.mark.parametrize(("option", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_srv_02_connect_is_intercepted(place: Place, option: str, version: str) -> None:
    url = f"https://origin.test:{place.https.port}/file?by={version}"
    got = place.arcus.curl(option, "--cacert", place.arcus.ca(), url)
    assert (got.status, got.body == BODY, got.info["http_version"]) == (200, True, version)
    event = place.arcus.event(url=url)
    assert (event["decrypt"], event["method"], event["protocol"]) == ("intercept", "GET", "connect")
    assert event["client_tls"]["version"] == event["server_tls"]["version"] == "TLSv1.3"
    assert event["server_tls"]["verify"] == "ok"
    assert event["client_hello"]["sni"] == "origin.test"


def test_srv_02_leaf_is_issued_by_the_tenants_ca(place: Place) -> None:
    context = sockets.trusting(place.arcus.ca())
    with context.wrap_socket(
        sockets.connect(place.arcus.port("explicit"), f"origin.test:{place.https.port}"), server_hostname="origin.test"
    ) as sock:
        leaf = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")
    ca = x509.load_pem_x509_certificate(place.arcus.ca().read_bytes())
    assert leaf.issuer == ca.subject
    leaf.verify_directly_issued_by(ca)


def test_srv_02_a_client_without_the_ca_refuses_the_leaf(place: Place) -> None:
    got = place.arcus.curl(f"https://origin.test:{place.https.port}/refused")
    assert (got.code, got.status) == (60, 0)
    event = place.arcus.event(reason="client_rejected_leaf")
    assert event["event_type"] == "connection" or event["event_type"] == "error"
    assert event["destination_host"] == "origin.test"


# -- TLS to the proxy


def test_srv_03_proxy_over_tls(place: Place) -> None:
    for number, url in enumerate(
        (f"http://origin.test:{place.http.port}/file", f"https://origin.test:{place.https.port}/file")
    ):
        got = place.arcus.curl(
            "--proxy", f"https://127.0.0.1:{place.arcus.port('secure')}", "--proxy-cacert", _origin_ca(place),
            "--cacert", place.arcus.ca(), f"{url}?over-tls={number}", via=None,
        )  # fmt: skip
        assert (got.code, got.status, got.body == BODY) == (0, 200, True), got.error
        assert place.arcus.event(url=f"{url}?over-tls={number}")["server"] == "secure"


def _origin_ca(place: Place) -> Path:
    return place.arcus.state.parent / "origin-ca.pem"


def test_srv_03_listener_certificate_is_its_own(place: Place) -> None:
    with sockets.trusting(_origin_ca(place)).wrap_socket(
        sockets.dial(place.arcus.port("secure")), server_hostname="proxy.test"
    ) as sock:
        shown = sock.getpeercert(binary_form=True) or b""
    own = x509.load_pem_x509_certificates(place.listener[0].read_bytes())[0]
    assert x509.load_der_x509_certificate(shown) == own
    assert own.issuer != x509.load_pem_x509_certificate(place.arcus.ca().read_bytes()).subject


def test_srv_03_plain_http_to_the_tls_port_is_closed(place: Place) -> None:
    before = counter(place.arcus, "arcus_limits_total", "client_tls_failed")
    got = sockets.exchange(place.arcus.port("secure"), b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    assert not got.startswith(b"HTTP/")
    rises(place.arcus, before, "arcus_limits_total", "client_tls_failed")


def test_srv_03_no_tls_below_1_2(place: Place) -> None:
    for version in ("-tls1", "-tls1_1"):
        command = ["openssl", "s_client", version, "-cipher", "ALL:@SECLEVEL=0", "-connect"]
        done = subprocess.run(
            [*command, f"127.0.0.1:{place.arcus.port('secure')}"], input=b"", capture_output=True, timeout=20, check=False
        )
        assert b"BEGIN CERTIFICATE" not in done.stdout


# -- who may connect, and how


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_srv_12_dual_stack_takes_both_families(place: Place, host: str) -> None:
    with sockets.dial(place.arcus.port("dual"), host=host) as sock:
        sock.sendall(f"GET {place.seen.url}/dual HTTP/1.1\r\nHost: origin.test:{place.seen.port}\r\n\r\n".encode())
        assert sockets.read_response(sock)[0] == 200
    assert wait_until(lambda: place.arcus.events(server="dual", source_ip=host), 10, f"an event from {host}")


def test_srv_13_listener_names_the_tenant_whatever_the_client_says(place: Place) -> None:
    """The listener is stronger than X-Tenant-ID, also from a trusted peer."""
    got = place.arcus.curl("-H", "X-Tenant-ID: default", f"{place.seen.url}/branch", via="branch")
    assert got.status == 200
    event = place.arcus.event(url=f"{place.seen.url}/branch")
    assert (event["tenant_id"], event["tenant_method"]) == ("branch", "listener")
    assert place.seen.requests[-1].values("x-tenant-id") == []


@pytest.mark.parametrize(
    ("server", "source", "admitted"),
    [
        ("filtered", "127.0.0.9", False),
        ("filtered", "127.0.0.1", True),
        ("strict", "127.0.0.1", False),
        ("strict", "127.0.0.8", True),
    ],
)
def test_srv_14_ingress_filter_closes_before_a_byte(place: Place, server: str, source: str, admitted: bool) -> None:
    before = counter(place.arcus, "arcus_server_connections_refused_total", server, "network_denied")
    request = f"GET {place.seen.url}/in HTTP/1.1\r\nHost: origin.test:{place.seen.port}\r\nConnection: close\r\n\r\n"
    got = sockets.exchange(place.arcus.port(server), request.encode() if admitted else b"", source=source)
    assert got.startswith(b"HTTP/1.1 200") if admitted else got == b""
    if not admitted:
        rises(place.arcus, before, "arcus_server_connections_refused_total", server, "network_denied")


def test_srv_17_connections_above_the_cap_are_closed_and_slots_come_back(place: Place) -> None:
    port = place.arcus.port("small")
    before = counter(place.arcus, "arcus_server_connections_refused_total", "small", "resource_exhausted")
    for _ in range(20):  # a slot that leaks would be missing in the second round
        held = [wait_until(lambda: _admitted(place, port), 5, "a slot") for _ in range(3)]
        assert sockets.exchange(port) == b""
        for sock in held:
            sock.close()
    rises(place.arcus, before, "arcus_server_connections_refused_total", "small", "resource_exhausted")


def test_srv_17_connections_of_one_client_are_capped(place: Place) -> None:
    port = place.arcus.port("few")
    with sockets.dial(port) as one, sockets.dial(port) as two:
        assert _answers(place, one)
        assert _answers(place, two)
        assert sockets.exchange(port) == b""
        with sockets.dial(port, "127.0.0.5") as other:
            assert _answers(place, other)
    rises(place.arcus, 0, "arcus_server_connections_refused_total", "few", "too_many_connections")


def _answers(place: Place, sock: socket.socket) -> bool:
    sock.sendall(f"GET {place.seen.url}/cap HTTP/1.1\r\nHost: origin.test:{place.seen.port}\r\n\r\n".encode())
    return sockets.read_response(sock)[0] == 200


def _admitted(place: Place, port: int) -> socket.socket | None:
    sock = sockets.dial(port)
    try:
        if _answers(place, sock):
            return sock
    except (AssertionError, OSError):
        sock.close()
    return None
