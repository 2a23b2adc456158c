"""Scanning through the whole appliance: our ICAP server with clamd, c-icap with clamd, and services that fail."""

import base64
import contextlib
import hashlib
import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.icap_peers import misbehaving, tap
from tests.e2e.records import record, records
from tests.e2e.running import running, wait_until
from tests.e2e.scanners import PASSWORD, SOURCES, RestartableClamd, Scanned, config
from tests.e2e.sockets import connect, read_until, tls
from tests.e2e.webserver import payload, webserver
from tests.ports import free_port
from tests.proxies import Peer, nginx
from tests.servers import EICAR, EICAR_NAME, c_icap, clamd

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

UNSEEN = itertools.count(71_001)
"""Sizes of bodies that no other test fetches: no verdict of theirs can have been kept."""


@pytest.fixture(scope="module", params=[False, True], ids=["over ICAP", "in workers"])
def scanned(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Scanned]:
    directory = tmp_path_factory.mktemp("scanned")
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(webserver(directory))
        scanner = stack.enter_context(RestartableClamd())
        other = stack.enter_context(c_icap(stack.enter_context(clamd())))
        icap_port = free_port()
        listening = stack.enter_context(tap(icap_port))
        bad = stack.enter_context(misbehaving())
        made = config(
            directory / "state", web, scanner.port, icap_port, listening, other.uri("avscan"), bad, in_workers=request.param
        )
        appliance = stack.enter_context(running(made, directory))
        yield Scanned(appliance, web, scanner, listening)


@pytest.fixture(scope="module")
def h2(scanned: Scanned, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """An HTTP/2 origin with the virus in a file."""
    root = tmp_path_factory.mktemp("h2")
    (root / "eicar").write_bytes(EICAR)
    (root / "clean").write_bytes(payload(10_000_000))
    server = f"root {root}; location /up {{ return 200 up; }}"
    certificate = scanned.web.issue(root, "origin.test")
    with nginx(tls=certificate, http2=True, server=server) as peer:
        yield peer


def url_of(scanned: Scanned, scheme: str) -> str:
    return scanned.web.url if scheme == "http" else scanned.web.tls_url


# -- downloads and uploads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tenant", ["default", "cicap"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_icp_02_eicar_download_is_blocked(scanned: Scanned, tenant: str, scheme: str) -> None:
    """ICP-12, ICP-13"""
    path = f"/eicar/{tenant}/{scheme}"
    answer = scanned.get(tenant, url_of(scanned, scheme) + path, "--header", "Accept: text/html")
    assert answer.status == 403
    assert EICAR not in answer.body
    event = record(scanned.appliance, path)
    assert (event["reason"], event["blocked"], event["tenant_id"]) == ("malware_found", True, tenant)
    assert event["id"].encode() in answer.body
    scan = event["scans"][-1]
    assert (scan["method"], scan["outcome"]) == ("RESPMOD", "blocked")
    assert (scan["size"], scan["sha256"]) == (len(EICAR), hashlib.sha256(EICAR).hexdigest())
    assert EICAR_NAME in scan["signature"]
    assert scan["ms"] > 0
    assert "clam" in scan["engine"].lower() or scan["istag"]


@pytest.mark.parametrize("tenant", ["default", "cicap"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_icp_01_eicar_upload_is_blocked_and_never_arrives(scanned: Scanned, tenant: str, scheme: str) -> None:
    path = f"/up/{tenant}/{scheme}"
    before = scanned.web.accepted
    upload = "@" + str(_file(scanned, "eicar.bin", EICAR))
    answer = scanned.get(tenant, url_of(scanned, scheme) + path, "--data-binary", upload)
    assert answer.status == 403
    assert scanned.web.seen(path) == []
    if scheme == "http":
        assert scanned.web.accepted == before, "nothing is connected to for a request that is blocked"
    event = record(scanned.appliance, path)
    assert (event["reason"], event["scans"][-1]["method"]) == ("malware_found", "REQMOD")
    assert event["signature"] == EICAR_NAME


def test_icp_01_eicar_in_a_chunked_upload_is_blocked(scanned: Scanned) -> None:
    upload = "@" + str(_file(scanned, "eicar.bin", EICAR))
    answer = scanned.get(
        "default", scanned.web.tls_url + "/up/chunked", "--header", "Transfer-Encoding: chunked", "--data-binary", upload
    )
    assert answer.status == 403
    assert scanned.web.seen("/up/chunked") == []


@pytest.mark.parametrize("tenant", ["default", "cicap"])
def test_icp_02_eicar_over_http2_both_ways(scanned: Scanned, h2: Peer, tenant: str) -> None:
    """ICP-01"""
    url = f"https://origin.test:{h2.port}"
    down = scanned.get(tenant, f"{url}/eicar?{tenant}", "--http2")
    upload = "@" + str(_file(scanned, "eicar.bin", EICAR))
    up = scanned.get(tenant, f"{url}/up?{tenant}", "--http2", "--data-binary", upload)
    assert [down.status, up.status] == [403, 403]
    assert [down.info["http_version"], up.info["http_version"]] == ["2", "2"]
    assert EICAR not in down.body
    scanned.get(tenant, f"{url}/up?after-{tenant}", "--http2")  # logged after what went before it
    assert h2.log(f"/up?after-{tenant}")
    assert h2.log(f"/up?{tenant}", seconds=0.1) == []
    assert record(scanned.appliance, f"/up?{tenant}")["server_tls"]["alpn"] == "h2"


@pytest.mark.parametrize("tenant", ["default", "cicap"])
def test_icp_02_a_clean_body_arrives_unchanged(scanned: Scanned, tenant: str) -> None:
    """ICP-04: both ways, 10 MB where the service takes that much."""
    size = 10_000_000 if tenant == "default" else 4_000_000
    digest = hashlib.sha256(payload(size)).hexdigest()
    for url in (scanned.web.url, scanned.web.tls_url):
        down = scanned.get(tenant, f"{url}/bytes/{size}/{tenant}")
        assert (down.status, hashlib.sha256(down.body).hexdigest()) == (200, digest)
    up = scanned.get(
        tenant,
        f"{scanned.web.tls_url}/clean/{tenant}",
        "--data-binary",
        "@" + str(_file(scanned, f"{size}.bin", payload(size))),
    )
    assert up.body.decode() == f"{size} {digest}\n"
    for event in records(scanned.appliance, f"/bytes/{size}/{tenant}"):
        assert [scan["outcome"] for scan in event["scans"]] == ["clean", "clean"]
        assert event["scans"][1]["sha256"] == digest


def test_icp_02_a_clean_body_arrives_unchanged_over_http2(scanned: Scanned, h2: Peer) -> None:
    answer = scanned.get("default", f"https://origin.test:{h2.port}/clean", "--http2")
    assert (answer.status, answer.info["http_version"]) == (200, "2")
    assert hashlib.sha256(answer.body).hexdigest() == hashlib.sha256(payload(10_000_000)).hexdigest()


def test_icp_03_what_the_service_changed_reaches_the_client(scanned: Scanned) -> None:
    answer = scanned.get("bad", scanned.web.tls_url + "/html/edited")
    assert (answer.status, answer.body) == (200, b"edited\n")
    assert answer.headers["x-edited"] == "yes"
    assert answer.headers["content-length"] == str(len(answer.body))
    event = record(scanned.appliance, "/html/edited")
    assert event["scans"][-1]["outcome"] == "modified"


# -- services that fail ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("status500", "icap_error"),
        ("status404", "icap_error"),
        ("garbage", "icap_protocol_error"),
        ("half", "icap_error"),
        ("hang", "icap_timeout"),
        ("reset", ""),
    ],
)
def test_icp_05_a_failing_service_blocks_or_is_passed_by(scanned: Scanned, how: str, reason: str) -> None:
    blocked = scanned.get("bad", f"{scanned.web.url}/{how}/block")
    assert blocked.status == 503
    event = record(scanned.appliance, f"/{how}/block")
    assert event["reason"].startswith(reason or "icap_")
    assert (event["reason_source"], event["scans"][-1]["outcome"]) == ("icap", "error")
    passed = scanned.get("badpass", f"{scanned.web.url}/{how}/pass")
    assert passed.status == 200
    event = record(scanned.appliance, f"/{how}/pass")
    assert event["reason"] == "ok"
    assert event["scans"][-1]["outcome"] == "bypassed"
    assert event["not_scanned"] == ["response: scan_failed"]


def test_icp_05_clamd_stopped_blocks_and_recovers_by_itself(scanned: Scanned) -> None:
    """ICP-12"""
    scanned.clamd.stop()
    try:
        known = scanned.get("default", scanned.web.tls_url + "/eicar/clamd-down")
        assert (known.status in (403, 503), EICAR in known.body) == (True, False), "its verdict may be kept"
        # bodies that nobody has seen yet
        path = f"/bytes/{next(UNSEEN)}/clamd-down"
        assert scanned.get("default", scanned.web.tls_url + path).status == 503
        event = record(scanned.appliance, path)
        assert (event["reason"], event["reason_source"]) == ("scanner_unreachable", "icap")
        path = f"/bytes/{next(UNSEEN)}/clamd-down"
        assert scanned.get("lenient", scanned.web.tls_url + path).status == 200
        event = record(scanned.appliance, path)
        assert event["scans"][-1]["outcome"] == "bypassed"
        assert "response: scan_failed" in event["not_scanned"]
        # once a check has found the service down, the request's head is not judged either
        assert set(event["not_scanned"]) <= {"request: scan_failed", "response: scan_failed"}
        assert len(event["not_scanned"]) == [scan["outcome"] for scan in event["scans"]].count("bypassed")
    finally:
        scanned.clamd.start()
    wait_until(lambda: scanned.get("default", scanned.web.tls_url + "/hello").status == 200, 30, "scans work again")
    assert scanned.get("default", scanned.web.tls_url + "/eicar/clamd-again").status == 403


# -- what cannot be scanned -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["announced", "chunked"])
def test_icp_02_a_body_over_the_limit_is_blocked_or_passed_by(scanned: Scanned, way: str) -> None:
    path = "/bytes/200000" if way == "announced" else "/chunks"
    blocked = scanned.get("small", f"{scanned.web.tls_url}{path}/{way}-block?100")
    event = record(scanned.appliance, f"{way}-block")
    assert (event["reason"], event["blocked"]) == ("body_too_large", True)
    assert blocked.status == event["status"] == 413
    assert event["id"].encode() in blocked.body
    passed = scanned.get("smallpass", f"{scanned.web.tls_url}{path}/{way}-pass?100")
    assert (passed.status, len(passed.body)) == (200, 200_000 if way == "announced" else 102_400)
    event = record(scanned.appliance, f"{way}-pass")
    assert event["not_scanned"] == ["response: too_large"]
    assert event["bytes_sent"] == len(passed.body)


def test_icp_02_a_body_at_the_limit_is_scanned_and_one_byte_more_is_not(scanned: Scanned) -> None:
    at, above = (scanned.get("small", f"{scanned.web.url}/bytes/{64 * 1024 + more}/limit") for more in (0, 1))
    assert (at.status, above.status) == (200, 413)


def test_icp_01_an_upload_over_the_limit_is_blocked_or_passed_by(scanned: Scanned) -> None:
    big = "@" + str(_file(scanned, "big.bin", payload(200_000)))
    blocked = scanned.get("small", scanned.web.url + "/up/big-block", "--data-binary", big)
    assert blocked.status == 413
    assert scanned.web.seen("/up/big-block") == []
    assert record(scanned.appliance, "/up/big-block")["reason"] == "body_too_large"
    passed = scanned.get("smallpass", scanned.web.url + "/up/big-pass", "--data-binary", big)
    assert passed.body.startswith(b"200000 ")
    event = record(scanned.appliance, "/up/big-pass")
    assert event["not_scanned"] == ["request: too_large"]
    assert event["bytes_received"] == 200_000


def test_icp_02_an_event_stream_is_blocked_or_passed_by(scanned: Scanned) -> None:
    blocked = scanned.get("default", scanned.web.tls_url + "/sse/block")
    assert blocked.status == 403
    event = record(scanned.appliance, "/sse/block")
    assert event["reason"] == "not_scannable"
    assert event["id"].encode() in blocked.body, "a page, and nothing of the stream"
    assert b"data: 0" not in blocked.body
    passed = scanned.get("lenient", scanned.web.tls_url + "/sse/pass")
    assert (passed.status, passed.body.count(b"data:")) == (200, 3)
    assert record(scanned.appliance, "/sse/pass")["not_scanned"] == ["response: streamed"]


def test_icp_02_websocket_messages_pass_and_are_counted(scanned: Scanned) -> None:
    echoed = _websocket(scanned, "default", "/ws/pass", 3)
    assert echoed == [b"message 0", b"message 1", b"message 2"]
    event = record(scanned.appliance, "/ws/pass")
    assert (event["kind"], event["websocket_frames"], event["status"]) == ("websocket", [3, 3], 101)
    assert "websocket" in event["not_scanned"]


def test_icp_02_websocket_can_be_blocked(scanned: Scanned) -> None:
    with pytest.raises(AssertionError, match="403"):
        _websocket(scanned, "lenient", "/ws/block", 1)
    assert record(scanned.appliance, "/ws/block")["reason"] == "not_scannable"


# -- what the service is told, and over how many connections ------------------------------------------------------------------


def test_icp_07_usr_14_the_service_learns_who_asks(scanned: Scanned) -> None:
    answer = scanned.get("users", scanned.web.tls_url + "/who", "--proxy-user", f"alice:{PASSWORD}")
    assert answer.status == 200
    for method in ("REQMOD", "RESPMOD"):
        fields = scanned.tap.heads(method, "/who")[0]
        assert base64.b64decode(fields["x-authenticated-user"]) == b"Local://alice"
        assert (fields["x-client-ip"], fields["x-tenant-id"]) == (SOURCES["users"], "users")
        assert fields["x-subscriber-id"]
        assert fields["x-request-id"] == record(scanned.appliance, "/who")["id"]
    assert record(scanned.appliance, "/who")["user_id"] == "alice"


def test_icp_07_a_client_cannot_forge_what_the_service_is_told(scanned: Scanned) -> None:
    forged = ["--header", "X-Client-IP: 10.9.9.9", "--header", "X-Tenant-ID: other", "--header", "X-Authenticated-User: Ym9i"]
    answer = scanned.get("users", scanned.web.tls_url + "/forged", "--proxy-user", f"alice:{PASSWORD}", *forged)
    assert answer.status == 200
    fields = scanned.tap.heads("REQMOD", "/forged")[0]
    assert (fields["x-client-ip"], fields["x-tenant-id"]) == (SOURCES["users"], "users")
    assert base64.b64decode(fields["x-authenticated-user"]) == b"Local://alice"


def test_icp_11_connections_to_the_service_are_kept(scanned: Scanned) -> None:
    before = scanned.tap.connects
    scanned.get("users", f"{scanned.web.url}/kept/[1-50]", "--proxy-user", f"alice:{PASSWORD}")
    assert len(scanned.web.seen("/kept/")) == 50
    assert scanned.tap.connects - before <= 4, "a hundred transactions"


def _file(scanned: Scanned, name: str, data: bytes) -> Path:
    path = scanned.appliance.state.parent / name
    if not path.exists():
        path.write_bytes(data)
    return path


def _websocket(scanned: Scanned, tenant: str, path: str, count: int) -> list[bytes]:
    """Send messages, gather what comes back, close."""
    host = f"origin.test:{scanned.web.tls_port}"
    port = scanned.appliance.port("explicit")
    with connect(port, host, source=SOURCES.get(tenant, "")) as raw, tls(raw, "origin.test", scanned.appliance.ca()) as sock:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
        sock.sendall("\r\n".join([*lines, f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]).encode())
        head = read_until(sock, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        found = []
        for number in range(count):
            message = f"message {number}".encode()
            sock.sendall(bytes([0x81, 0x80 | len(message)]) + bytes(4) + message)
            found.append(_frame(sock))
        sock.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
        assert _frame(sock)[:2] == b"\x03\xe8"
        return found


def _frame(sock: Any) -> bytes:
    head = _exactly(sock, 2)
    return _exactly(sock, head[1])


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        assert piece, "closed"
        data += piece
    return data
