"""Bodies of any size through the whole appliance (C7, LIM-04): scanned as they arrive, within memory, and never whole
unless they are clean."""

import contextlib
import hashlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import brotli
import pytest

from tests.e2e.large import BigOrigin, StreamScanner, big_origin, digest, held_bodies, memory, piece, stream_scanner
from tests.e2e.records import record
from tests.e2e.running import Running, base_config, running, wait_until
from tests.e2e.scanners import auditor
from tests.e2e.webserver import WebServer, webserver
from tests.proxies import Peer, nginx
from tests.servers import EICAR

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

MIB = 1 << 20
SOURCES = {"drip": "127.0.0.2", "block": "127.0.0.3", "pass": "127.0.0.4", "head": "127.0.0.5", "full": "127.0.0.6"}


@dataclass
class Lab:
    appliance: Running
    origin: BigOrigin
    front: Peer
    """The same origin over HTTP/2."""
    scanner: StreamScanner
    web: WebServer
    directory: Path
    asked: int = 0

    @property
    def url(self) -> str:
        return f"https://origin.test:{self.origin.port}"

    def mark(self, name: str) -> str:
        """The end of a path that no other test, and no second try of this one, asks for."""
        self.asked += 1
        return f"&{name}.{self.asked}."

    def get(self, tenant: str, path: str, *args: str | Path, timeout: int = 60) -> Any:
        base = f"https://origin.test:{self.front.port}" if "--http2" in args else self.url
        source = ["--interface", SOURCES[tenant]] if tenant in SOURCES else []
        ca = ["--cacert", self.appliance.ca()]
        return self.appliance.curl(*source, *ca, *args, base + path, timeout=timeout)

    @property
    def held(self) -> int:
        return held_bodies(self.appliance)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("large")
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(webserver(directory))
        origin = stack.enter_context(big_origin(web.issue(directory, "origin.test")))
        scanner = stack.enter_context(stream_scanner())
        proxied = f"""
            location / {{
                proxy_pass https://127.0.0.1:{origin.port}; proxy_http_version 1.1; proxy_buffering off;
                proxy_request_buffering off; proxy_max_temp_file_size 0; client_max_body_size 0;
            }}"""
        front = stack.enter_context(nginx(tls=web.issue(directory, "origin.test"), http2=True, server=proxied))
        appliance = stack.enter_context(running(config(directory / "state", web, scanner), directory))
        yield Lab(appliance, origin, front, scanner, web, directory)


def config(state: Path, web: WebServer, scanner: StreamScanner) -> Any:
    def made(name: str, **more: Any) -> Any:
        return auditor(name, web, scanner.uri, max_scan_size="2G", **more)

    auditors = [
        made("inspect"),
        made("drip", large_bodies={"trickle": {"after": "500ms", "rate": 4096}}),
        made("block") | {"max_scan_size": "2M"},
        made("pass") | {"max_scan_size": "2M", "oversize": "bypass"},
        made("head") | {"max_scan_size": "2M", "oversize": "head"},
        made("full"),
    ]
    default = {"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct"}
    tenants = [default | {"tenant_id": n, "auditor": n, "match": {"networks": [f"{ip}/32"]}} for n, ip in SOURCES.items()]
    return base_config(
        state, auditor=auditors, tenant=[default, *tenants], held_bodies={"memory": "8M", "disk": "2G"}
    )  # fmt: skip


class Download:
    """A response read piece by piece; a context manager, so that nothing stays open when a test fails."""

    def __init__(self, lab: Lab, tenant: str, path: str) -> None:
        source = (SOURCES[tenant], 0) if tenant in SOURCES else None
        context = ssl.create_default_context(cafile=lab.appliance.ca())
        proxy = http.client.HTTPConnection("127.0.0.1", lab.appliance.port("explicit"), timeout=60, source_address=source)
        proxy.set_tunnel("origin.test", lab.origin.port)
        proxy.connect()
        assert proxy.sock is not None
        self.sock = context.wrap_socket(proxy.sock, server_hostname="origin.test")
        self.connection = http.client.HTTPConnection("origin.test")
        self.connection.sock = self.sock
        self.started = time.monotonic()
        self.connection.request("GET", path)
        self.response = self.connection.getresponse()

    def read_all(self) -> tuple[int, str]:
        value, size = hashlib.sha256(), 0
        while data := self.response.read1(1 << 18):
            value.update(data)
            size += len(data)
        return size, value.hexdigest()

    def close(self) -> None:
        self.response.close()
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def worker(lab: Lab) -> int:
    (pid,) = lab.appliance.child_pids("worker")
    return pid


# -- downloads ------------------------------------------------------------------------------------------------------------


def test_c7_a_gigabyte_is_scanned_whole_delivered_whole_and_begins_at_once(lab: Lab) -> None:
    """C7, LIM-04: the first byte within two seconds, less than 150 MB in the worker."""
    size, mark = 1024 * MIB, lab.mark("gigabyte")
    with Download(lab, "drip", f"/gen?size={size}{mark}") as download:
        assert download.response.read1(1)
        assert time.monotonic() - download.started < 2.0
        got, _ = download.read_all()
    assert got == size - 1
    assert lab.scanner.bytes_of(mark) == [size]
    assert memory(worker(lab)) < 150_000_000
    event = record(lab.appliance, mark)
    assert (event["reason"], event["bytes_sent"], event["scanned_bytes"]) == ("ok", size, {"response": size})
    assert not event.get("not_scanned")
    wait_until(lambda: lab.held == 0, what="the file is given back")


@pytest.mark.security
def test_c7_a_virus_in_the_last_megabyte_resets_the_client_that_has_the_beginning(lab: Lab) -> None:
    size, mark = 512 * MIB, lab.mark("late")
    got = 0
    with (
        Download(lab, "drip", f"/gen?size={size}&at={size - 65536}{mark}") as download,
        pytest.raises((ConnectionResetError, http.client.IncompleteRead)) as raised,
    ):
        while data := download.response.read1(1 << 16):
            got += len(data)
            assert EICAR not in data
        raise http.client.IncompleteRead(b"") if got < size else AssertionError("it looks whole")
    assert raised.type is ConnectionResetError, "a reset, and not an end"
    assert 0 < got < size - 65536
    event = record(lab.appliance, mark)
    assert (event["reason"], event["signature"], event["status"]) == ("malware_found", "Eicar-Test", 200)
    assert event["bytes_sent"] == got


@pytest.mark.security
@pytest.mark.parametrize("framing", ["", "&chunked"])
def test_c7_without_a_trickle_a_virus_at_the_end_is_a_page(lab: Lab, framing: str) -> None:
    size, mark = 32 * MIB, lab.mark("page")
    answer = lab.get("default", f"/gen?size={size}&at={size - 65536}{framing}{mark}")
    assert answer.status == 403
    assert EICAR not in answer.body
    event = record(lab.appliance, mark)
    assert (event["reason"], event["scanned_bytes"]) == ("malware_found", {"response": size})


@pytest.mark.parametrize("framing", ["", "&chunked"])
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("tenant", ["default", "drip"])
def test_c7_a_clean_body_arrives_as_it_was(lab: Lab, tenant: str, framing: str, version: str) -> None:
    size = 24 * MIB + 7
    answer = lab.get(tenant, f"/gen?size={size}{framing}&clean", version)
    assert (answer.status, len(answer.body), hashlib.sha256(answer.body).hexdigest()) == (200, size, digest(size))
    assert answer.info["http_version"] == version[-1:].replace("1", "1.1")


@pytest.mark.security
def test_c7_over_http2_a_late_virus_resets_the_stream(lab: Lab) -> None:
    lab.scanner.go.clear()
    size, mark = 8 * MIB, lab.mark("late")
    path = f"/wait/gen?size={size}&at={size - 65536}{mark}"
    target = lab.directory / mark
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(lab.get("drip", path, "--http2", "--output", target, "-N")))
    thread.start()
    wait_until(lambda: target.exists() and target.stat().st_size > 0, what="the trickle")
    lab.scanner.go.set()
    thread.join(60)
    assert answers[0].code == 92, answers[0].error  # CURLE_HTTP2_STREAM
    assert target.stat().st_size < size
    assert record(lab.appliance, mark)["reason"] == "malware_found"


@pytest.mark.security
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_c7_a_packed_body_is_scanned_unpacked_and_delivered_as_it_was(lab: Lab, version: str) -> None:
    """Brotli that nobody asked for: to a scanner it would be noise."""
    mark = lab.mark("packed")
    infected = lab.get("default", f"/gen?size=60000&at=1000&packed{mark}", version)
    clean = lab.get("default", f"/gen?size=60000&packed{mark}clean", version)
    assert infected.status == 403
    assert record(lab.appliance, f"at=1000&packed{mark}")["signature"] == "Eicar-Test"
    assert clean.headers["content-encoding"] == "br"
    assert brotli.decompress(clean.body) == piece(0, 60000, -1)
    assert lab.scanner.bytes_of(f"{mark}clean") == [60000]
    assert record(lab.appliance, f"{mark}clean")["scanned_bytes"] == {"response": len(clean.body)}


# -- uploads --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upload(lab: Lab) -> Path:
    path = lab.directory / "upload"
    path.write_bytes((bytes(range(256)) * 256) * 384 + b"end")
    return path


@pytest.mark.parametrize("framing", [[], ["--header", "Transfer-Encoding: chunked"]])
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_c7_an_upload_arrives_as_it_was(lab: Lab, upload: Path, version: str, framing: list[str]) -> None:
    name = f"/up?{lab.mark(version)}"
    answer = lab.get("default", name, version, *framing, "--data-binary", f"@{upload}")
    assert (answer.body, answer.info["http_version"]) == (b"ok", version[-1:].replace("1", "1.1"))
    transfer = lab.origin.of(name)
    assert (transfer.received, transfer.sha256) == (upload.stat().st_size, hashlib.sha256(upload.read_bytes()).hexdigest())
    event = record(lab.appliance, name)
    assert event["bytes_received"] == event["scanned_bytes"]["request"] == transfer.received


@pytest.mark.security
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_c7_an_infected_upload_never_reaches_the_server(lab: Lab, upload: Path, version: str) -> None:
    mark = lab.mark("bad")
    infected = lab.directory / "infected"
    infected.write_bytes(upload.read_bytes() + EICAR)
    answer = lab.get("default", f"/up?{mark}", version, "--data-binary", f"@{infected}")
    assert answer.status == 403
    assert not [each for each in lab.origin.transfers if mark in each.target]
    assert record(lab.appliance, mark)["reason"] == "malware_found"


# -- above the limit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["", "&chunked"])
@pytest.mark.parametrize("tenant", ["block", "pass", "head"])
def test_c7_above_the_limit_the_tenant_decides(lab: Lab, tenant: str, framing: str) -> None:
    size, mark = 6 * MIB, lab.mark(tenant)
    path = f"/gen?size={size}{framing}{mark}"
    answer = lab.get(tenant, path)
    event = record(lab.appliance, mark, tenant_id=tenant)
    if tenant == "block":
        assert answer.status == 413
        assert event["reason"] == "body_too_large"
        return
    assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, digest(size))
    if tenant == "pass":
        assert (event["not_scanned"], event["unscanned_bytes"]) == (["response: too_large"], {"response: too_large": size})
        return
    assert event["not_scanned"] == ["response: head_only"]
    assert event["unscanned_bytes"] == {"response: head_only": size - 2 * MIB}
    assert event["scanned_bytes"] == {"response": 2 * MIB}


@pytest.mark.security
def test_c7_a_virus_in_the_head_is_found_where_only_the_head_is_scanned(lab: Lab) -> None:
    answer = lab.get("head", f"/gen?size={6 * MIB}&at={MIB}&inhead")
    assert answer.status == 403


@pytest.mark.parametrize(("tenant", "status"), [("block", 413), ("pass", 200), ("head", 200)])
def test_c7_uploads_above_the_limit(lab: Lab, upload: Path, tenant: str, status: int) -> None:
    name = f"/up?{lab.mark(tenant)}"
    answer = lab.get(tenant, name, "--header", "Transfer-Encoding: chunked", "--data-binary", f"@{upload}")
    assert answer.status == status
    if status == 200:
        assert lab.origin.of(name).sha256 == hashlib.sha256(upload.read_bytes()).hexdigest()


# -- ends -----------------------------------------------------------------------------------------------------------------


def test_c7_a_client_that_leaves_ends_the_scan_and_the_server_s_transfer(lab: Lab) -> None:
    lab.origin.go.clear()
    mark = lab.mark("leaves")
    path = f"/gen?size={256 * MIB}&hold={16 * MIB}{mark}"
    with Download(lab, "drip", path) as download:
        assert download.response.read1(1)
        wait_until(lambda: lab.held > 0, what="the body is on disk")
        download.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    lab.origin.go.set()
    wait_until(lambda: lab.origin.of(mark).broken, what="the origin is cut off")
    assert record(lab.appliance, mark)["reason"] == "client_closed"
    assert lab.scanner.bytes_of(mark) == []
    wait_until(lambda: lab.held == 0, what="the file is given back")


@pytest.mark.parametrize("tenant", ["default", "drip"])
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_c7_who_leaves_before_the_verdict_leaves_nothing_behind(lab: Lab, tenant: str, version: str) -> None:
    """Held or trickled, over both versions: the scan is cancelled, the server's transfer ends, the room is given back."""
    lab.origin.go.clear()
    mark = lab.mark("gone")
    path = f"/gen?size={64 * MIB}&hold={16 * MIB}{mark}"
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(lab.get(tenant, path, version, "--max-time", "6")))
    thread.start()
    wait_until(lambda: lab.held > 0, what="the body is on disk")
    thread.join(60)
    assert answers[0].code == 28, "curl's own time limit"
    event = record(lab.appliance, mark)
    assert event["reason"] == "client_closed"
    assert not event.get("scanned_bytes")
    wait_until(lambda: lab.held == 0, what="the file is given back")
    lab.origin.go.set()
    wait_until(lambda: lab.origin.of(mark).broken, what="the origin is cut off")
    assert lab.scanner.bytes_of(mark) == []


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_c7_a_part_is_cut_out_of_the_whole_that_was_scanned(lab: Lab, version: str) -> None:
    """A player that seeks, and a download that is resumed."""
    mark = lab.mark("part")
    size = 3 * MIB
    answer = lab.get("default", f"/gen?size={size}{mark}", version, "--range", "1000000-2000000")
    assert (answer.status, answer.headers["content-range"]) == (206, f"bytes 1000000-2000000/{size}")
    assert answer.body == (bytes(range(256)) * (size // 256))[1000000:2000001]
    assert lab.scanner.bytes_of(mark) == [size]
    event = record(lab.appliance, mark)
    assert (event["bytes_sent"], event["scanned_bytes"], event["status"]) == (1000001, {"response": size}, 206)
    assert lab.get("default", f"/gen?size={size}{mark}b", version, "--range", f"{size}-").status == 416
    small = lab.get("default", f"/gen?size=50000{mark}c", version, "--range", "-10")
    assert (small.status, len(small.body)) == (206, 10)


@pytest.mark.security
def test_c7_no_part_of_an_infected_whole_comes(lab: Lab) -> None:
    answer = lab.get("default", f"/gen?size={3 * MIB}&at={2 * MIB}{lab.mark('badpart')}", "--range", "0-99")
    assert answer.status == 403


@pytest.mark.parametrize("tenant", ["default", "drip"])
@pytest.mark.parametrize("framing", ["", "&chunked"])
def test_c7_a_server_that_breaks_off_is_an_error(lab: Lab, tenant: str, framing: str) -> None:
    mark = lab.mark(tenant)
    answer = lab.get(tenant, f"/gen?size={16 * MIB}&stop={8 * MIB}{framing}{mark}")
    assert answer.code != 0 or answer.status == 502
    event = record(lab.appliance, mark)
    assert event["reason"] == "upstream_closed"


def test_c7_a_service_that_passes_at_the_preview_holds_nothing_up(lab: Lab) -> None:
    """ICAP-C24: the body flows on while the server still sends it."""
    lab.origin.go.clear()
    with Download(lab, "default", f"/early/gen?size={4 * MIB}&hold={2 * MIB}&flows") as download:
        assert download.response.read1(1)
        lab.origin.go.set()
        assert download.read_all()[0] == 4 * MIB - 1


def test_c7_a_slow_scanner_holds_the_server_back(lab: Lab) -> None:
    """Back-pressure: the origin cannot run away from the scanner by more than the window and the sockets' buffers."""
    lab.scanner.go.clear()
    mark = lab.mark("slow")
    download_size = 256 * MIB
    answers: list[Any] = []
    thread = threading.Thread(
        target=lambda: answers.append(lab.get("full", f"/slow/gen?size={download_size}{mark}", "--output", "/dev/null"))
    )
    thread.start()
    wait_until(lambda: [t for t in lab.origin.transfers if mark in t.target], what="the request")
    transfer = lab.origin.of(mark)
    wait_until(lambda: _still(transfer), what="the origin is held")
    assert transfer.sent < 64 * MIB
    lab.scanner.go.set()
    thread.join(60)
    assert answers[0].info["size_download"] == download_size


def _still(transfer: Any) -> bool:
    before = transfer.sent
    time.sleep(0.5)
    return before > 0 and transfer.sent == before
