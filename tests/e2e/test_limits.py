"""What one client may cost: cut within the stated limit, counted, recorded, and nobody else is disturbed."""

import concurrent.futures
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e import origins, sockets
from tests.e2e.counters import counter
from tests.e2e.running import Running, base_config, running, wait_until
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.security, pytest.mark.xdist_group("e2e-limits")]

TIMEOUTS = {
    "handshake": "2s", "header": "2s", "client_idle": "2s", "body_idle": "2s", "min_body_rate": 1000, "tunnel_idle": "2s",
    "response": "1s",
}  # fmt: skip
LIMITS = {
    "header_size": "16K", "header_count": 50, "url_length": "4K", "response_header_size": "16K", "trailer_size": "1K",
    "chunk_extension": 64, "client_hello": "4K", "connections_per_client": 500,
}  # fmt: skip
CUT = 12.0
"""Seconds in which a busy machine has cut a connection whose limit is two seconds; an endless one would take for ever."""


@dataclass
class Place:
    arcus: Running
    plain: origins.Origin
    secure: origins.Origin
    silent: origins.Origin

    def port(self, server: str = "explicit") -> int:
        return self.arcus.port(server)

    @property
    def head(self) -> bytes:
        return f"GET {self.plain.url}/ HTTP/1.1\r\nHost: origin.test:{self.plain.port}\r\n".encode()


@dataclass
class Abuser:
    """A client with an address of its own, by which its records are found."""

    place: Place
    source: str

    def dial(self, server: str = "explicit") -> socket.socket:
        return sockets.dial(self.place.port(server), self.source)

    def send(self, data: bytes, server: str = "explicit") -> bytes:
        return sockets.exchange(self.place.port(server), data, source=self.source, seconds=CUT)

    def tunnel(self) -> socket.socket:
        return sockets.connect(self.place.port(), f"origin.test:{self.place.secure.port}", source=self.source)

    def inside(self) -> ssl.SSLSocket:
        return sockets.tls(self.tunnel(), "origin.test", self.place.arcus.ca())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("limits")
    trusted = origins.authority(directory)
    kinds = {"explicit": "http_proxy", "socks": "socks_proxy"}
    auditor = origins.trusting(trusted)
    interception = auditor["tls_interception"]
    assert isinstance(interception, dict)
    interception["splice"] = ["127.0.0.1"]
    config = base_config(
        directory / "state",
        auditor=[auditor],
        server=[
            {
                "name": name, "type": kind, "listen": {"address": f"127.0.0.1:{free_port()}"},
                "timeouts": TIMEOUTS, "limits": LIMITS,
            }
            for name, kind in kinds.items()
        ],
    )  # fmt: skip
    with (
        origins.origin() as plain,
        origins.origin(context=trusted.context()) as secure,
        origins.origin(hook=lambda sock: time.sleep(20)) as silent,
        running(config, directory) as arcus,
    ):
        yield Place(arcus, plain, secure, silent)


def drip(sock: sockets.Sock, data: bytes, pause: float = 0.1) -> None:
    """A byte at a time, until the peer has had enough."""
    with contextlib.suppress(OSError):
        for at in range(len(data)):
            sock.sendall(data[at : at + 1])
            time.sleep(pause)


def _dripped(sock: sockets.Sock, data: bytes) -> bytes:
    with sock:
        thread = threading.Thread(target=drip, args=(sock, data), daemon=True)
        thread.start()
        got = sockets.read_all(sock, CUT)
        thread.join(CUT)
    return got


# -- time


def silent_client(client: Abuser) -> bytes:
    return client.send(b"")


def silent_socks(client: Abuser) -> bytes:
    return client.send(b"", "socks")


def silent_tunnel(client: Abuser) -> bytes:
    with client.tunnel() as sock:
        return sockets.read_all(sock, CUT)


def half_hello(client: Abuser) -> bytes:
    with client.tunnel() as sock:
        sock.sendall(sockets.hello("origin.test")[:100])
        return sockets.read_all(sock, CUT)


def dripped_hello(client: Abuser) -> bytes:
    return _dripped(client.tunnel(), sockets.hello("origin.test"))


def dripped_socks(client: Abuser) -> bytes:
    return _dripped(client.dial("socks"), b"\x05" + b"\xff" + bytes(255))


def dripped_header(client: Abuser) -> bytes:
    return _dripped(client.dial(), client.place.head + b"X-Slow: " + b"x" * 500)


def dripped_second_header(client: Abuser) -> bytes:
    sock = client.dial()
    sock.sendall(client.place.head + b"\r\n")
    sockets.read_response(sock)
    return _dripped(sock, client.place.head + b"X-Slow: " + b"x" * 500)


def dripped_header_inside_tls(client: Abuser) -> bytes:
    return _dripped(client.inside(), b"GET / HTTP/1.1\r\nX-Slow: " + b"x" * 500)


def dripped_body(client: Abuser) -> bytes:
    sock = client.dial()
    sock.sendall(client.place.head.replace(b"GET", b"POST") + b"Content-Length: 5000\r\n\r\n")
    return _dripped(sock, b"x" * 500)


def stalled_body(client: Abuser) -> bytes:
    with client.inside() as sock:
        head = b"POST / HTTP/1.1\r\nHost: origin.test:%d\r\nContent-Length: 5000\r\n\r\nxxx"
        sock.sendall(head % client.place.secure.port)
        return sockets.read_all(sock, CUT)


def idle_inside_tls(client: Abuser) -> bytes:
    with client.inside() as sock:
        return sockets.read_all(sock, CUT)


def idle_spliced_tunnel(client: Abuser) -> bytes:
    target = f"127.0.0.1:{client.place.secure.port}"
    with (
        sockets.connect(client.place.port(), target, source=client.source) as tunnel,
        sockets.trusting(None).wrap_socket(tunnel) as sock,
    ):
        return sockets.read_all(sock, CUT)


# -- malformed


def _sent(data: bytes, server: str = "explicit") -> Callable[[Abuser], bytes]:
    return lambda client: client.send(data, server)


def _in_tunnel(data: bytes) -> Callable[[Abuser], bytes]:
    def run(client: Abuser) -> bytes:
        with client.tunnel() as sock:
            sock.sendall(data)
            return sockets.read_all(sock, CUT)

    return run


def _headers(count: int, size: int) -> Callable[[Abuser], bytes]:
    fields = b"".join(b"X-%d: %s\r\n" % (at, b"x" * size) for at in range(count))
    return lambda client: client.send(client.place.head + fields + b"\r\n")


def _headers_inside_tls(client: Abuser) -> bytes:
    with client.inside() as sock:
        with contextlib.suppress(OSError):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: origin.test\r\nX: " + b"x" * 200_000)
        return sockets.read_all(sock, CUT)


ENDLESS_HELLO = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"x" * 20_000
ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"

ABUSES: list[tuple[str, Callable[[Abuser], bytes], str, bytes]] = [
    ("silent client", silent_client, "client_silent", b""),
    ("silent on SOCKS", silent_socks, "client_silent", b""),
    ("silent tunnel", silent_tunnel, "client_silent", b""),
    ("half a ClientHello", half_hello, "client_silent|handshake_timeout", b""),
    ("dripped ClientHello", dripped_hello, "client_silent|handshake_timeout", b""),
    ("dripped SOCKS", dripped_socks, "client_silent|handshake_timeout", b""),
    ("dripped header", dripped_header, "header_timeout", b"HTTP/1.1 408"),
    ("dripped second header", dripped_second_header, "header_timeout", b""),
    ("dripped header in TLS", dripped_header_inside_tls, "header_timeout", b""),
    ("dripped body", dripped_body, "body_timeout", b""),
    ("stalled body", stalled_body, "body_timeout", b""),
    ("idle in TLS", idle_inside_tls, "idle_timeout", b""),
    ("idle spliced tunnel", idle_spliced_tunnel, "idle_timeout", b""),
    ("200 KB in one field", _headers(1, 200_000), "header_too_large", b"HTTP/1.1 431"),
    ("200 KB in forty fields", _headers(40, 5_000), "header_too_large", b"HTTP/1.1 431"),
    ("200 KB in TLS", _headers_inside_tls, "header_too_large", b"HTTP/1.1 431"),
    ("fifty fields too many", _headers(100, 10), "too_many_headers", b"HTTP/1.1 431"),
    ("long URL", _sent(b"GET http://origin.test/" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n"), "url_too_long", b"HTTP/1.1 414"),
    ("endless first line", _sent(b"G" * 100_000), "url_too_long|header_too_large|bad_request", b"HTTP/1.1 4"),
    ("binary instead of HTTP", _sent(b"\x00\xff\x00\xff\r\n\r\n"), "bad_request", b"HTTP/1.1 400"),
    ("TLS to the plain port", _sent(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "bad_request", b"HTTP/1.1 400"),
    ("origin-form to the proxy", _sent(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n"), "bad_request", b"HTTP/1.1 400"),
    ("CONNECT without a port", _sent(b"CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n"), "bad_request", b"HTTP/1.1 400"),
    ("a ClientHello that is none", _in_tunnel(b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"), "bad_client_hello", ACCESS_DENIED),
    ("a ClientHello cut short", _in_tunnel(b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03"), "bad_client_hello", ACCESS_DENIED),
    ("an endless ClientHello", _in_tunnel(ENDLESS_HELLO), "bad_client_hello", ACCESS_DENIED),
    ("SOCKS4", _sent(b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "socks"), "bad_socks", b""),
    ("SOCKS address type", _sent(b"\x05\x01\x00\x05\x01\x00\x09\x00\x00", "socks"), "bad_socks", b"\x05\x00\x05\x08"),
    ("HTTP to the SOCKS port", _sent(b"GET / HTTP/1.1\r\n\r\n", "socks"), "bad_socks", b""),
]  # fmt: skip


@dataclass
class Outcome:
    source: str
    answers: list[bytes]
    """What the client got until it was cut; nothing when it was not."""


@pytest.fixture(scope="module")
def abused(place: Place) -> dict[str, Outcome]:
    """All of them at the same time, and an ordinary client, whose answers stand under ``others``."""
    outcomes = {name: Outcome(f"127.0.10.{at + 1}", []) for at, (name, *_) in enumerate(ABUSES)}

    def run(name: str, abuse: Callable[[Abuser], bytes]) -> None:
        with contextlib.suppress(TimeoutError):
            outcomes[name].answers.append(abuse(Abuser(place, outcomes[name].source)))

    with _others(place) as others, concurrent.futures.ThreadPoolExecutor(len(ABUSES)) as pool:
        for done in [pool.submit(run, name, abuse) for name, abuse, *_ in ABUSES]:
            done.result()
    return outcomes | {"others": Outcome("127.0.0.66", [str(status).encode() for status in others])}


@pytest.mark.parametrize(
    ("name", "reason", "start"), [(item[0], *item[2:]) for item in ABUSES], ids=[item[0] for item in ABUSES]
)
def test_srv_18_cut_within_the_limit_and_recorded_once(
    place: Place, abused: dict[str, Outcome], name: str, reason: str, start: bytes
) -> None:
    """SRV-18: a deadline for each phase; and the limits of one message."""
    outcome, words = abused[name], reason.split("|")
    assert outcome.answers, "was not cut"
    assert outcome.answers[0].startswith(start)

    def recorded() -> list[dict[str, Any]]:
        return [event for event in place.arcus.events(source_ip=outcome.source) if event["reason"] != "ok"]

    events = wait_until(recorded, 10, f"a record with {reason}")
    assert [event["reason"] in words for event in events] == [True], events


@pytest.mark.parametrize("word", sorted({word for item in ABUSES for word in item[2].split("|") if "|" not in item[2]}))
def test_srv_18_each_is_counted(place: Place, abused: dict[str, Outcome], word: str) -> None:
    wanted = sum(reason == word for _, _, reason, _ in ABUSES)
    wait_until(lambda: counter(place.arcus, "arcus_limits_total", word) >= wanted, 10, f"{wanted} times {word}")


def test_srv_18_nobody_else_was_disturbed(place: Place, abused: dict[str, Outcome]) -> None:
    assert len(abused["others"].answers) > 5
    assert set(abused["others"].answers) == {b"200"}


@contextlib.contextmanager
def _others(place: Place) -> Iterator[list[int]]:
    """Another client goes on with its requests; the statuses it gets."""
    found: list[int] = []
    stop = threading.Event()

    def run() -> None:
        while not found or not stop.is_set():
            with sockets.dial(place.port(), "127.0.0.66") as sock:
                sock.sendall(place.head + b"\r\n")
                found.append(sockets.read_response(sock)[0])
            stop.wait(0.1)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join(15)


# -- at the limit


@pytest.mark.parametrize(("extra", "status"), [(48, 200), (49, 431)])
def test_srv_18_header_count_at_the_limit(place: Place, extra: int, status: int) -> None:
    """50 fields, Host and Connection among them."""
    fields = b"".join(b"X-%d: x\r\n" % at for at in range(extra))
    got = sockets.exchange(place.port(), place.head + b"Connection: close\r\n" + fields + b"\r\n")
    assert got.startswith(b"HTTP/1.1 %d" % status)


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 431)])
def test_srv_18_header_size_at_the_limit(place: Place, over: int, status: int) -> None:
    base = place.head + b"Connection: close\r\nX: "
    got = sockets.exchange(place.port(), base + b"x" * (16384 - len(base) - 4 + over) + b"\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 %d" % status)


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 414)])
def test_srv_18_url_at_the_limit(place: Place, over: int, status: int) -> None:
    url = f"{place.plain.url}/".encode()
    url += b"x" * (4096 - len(url) + over)
    head = b"GET " + url + b" HTTP/1.1\r\nHost: origin.test:%d\r\nConnection: close\r\n\r\n" % place.plain.port
    assert sockets.exchange(place.port(), head).startswith(b"HTTP/1.1 %d" % status)


# -- servers


@pytest.mark.parametrize("secure", [False, True])
def test_srv_18_silent_server_is_504_within_the_limit(place: Place, secure: bool) -> None:
    if secure:
        got = place.arcus.curl("--cacert", place.arcus.ca(), f"https://origin.test:{place.silent.port}/silent")
        assert got.status == 504 or got.code, got
        event = place.arcus.event(destination_port=place.silent.port, scheme="https")
        assert event["reason"] in ("upstream_timeout", "handshake_timeout", "upstream_tls_failed")
    else:
        got = place.arcus.curl(f"{place.silent.url}/silent")
        assert got.status == 504
        assert place.arcus.event(url=f"{place.silent.url}/silent")["reason"] == "upstream_timeout"


def test_srv_18_server_that_stops_inside_its_body(place: Place) -> None:
    """The client can tell that the end is missing."""

    def half(sock: Any) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        time.sleep(15)

    with origins.origin(hook=half) as stalling:
        got = place.arcus.curl(f"{stalling.url}/half")
        assert got.code in (18, 28, 52, 56)
        assert place.arcus.event(url=f"{stalling.url}/half")["reason"] == "upstream_timeout"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", "upstream_header_too_large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal", "upstream_closed"),
        (b"", "upstream_closed"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "upstream_protocol"),
    ],
)
def test_srv_18_servers_that_misbehave(place: Place, reply: bytes, reason: str) -> None:
    def say(sock: Any) -> None:
        sock.recv(65536)
        sock.sendall(reply)

    with origins.origin(hook=say) as bad:
        got = place.arcus.curl(f"{bad.url}/bad")
        assert got.status == 502 or got.code == 18
        assert place.arcus.event(url=f"{bad.url}/bad")["reason"] == reason
