"""Messages that two readers could read differently, through the running appliance: refused, or the same for both.

The corpora are those of the engine's own tests. Here bodies stream, so that a body that turns out malformed at its end may
have begun to leave: what counts is what the origin takes for a complete request, and the client for a complete response.
"""

import concurrent.futures
import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from appliance.domain.reason import Reason
from tests.appliance.engine.http import h2_peer, request_corpus, response_corpus, test_h2_corpus
from tests.appliance.engine.http.reference import NotHttp, read_responses
from tests.appliance.engine.http.test_request_corpus import LEAKS, expectation
from tests.e2e import origins, sockets
from tests.e2e.counters import counter
from tests.e2e.running import Running, base_config, running, wait_until
from tests.ports import free_port
from tests.proxies import Peer, nginx

pytestmark = [pytest.mark.e2e, pytest.mark.security, pytest.mark.xdist_group("e2e-smuggling")]

AT_ONCE = 6
TIMEOUTS = {"header": "3s", "body_idle": "3s", "client_idle": "3s", "response": "3s", "handshake": "5s"}


@dataclass
class Place:
    arcus: Running
    trusted: origins.Authority
    nginx: Peer
    idle: "queue.Queue[origins.Origin]" = field(default_factory=queue.Queue)
    secure: "queue.Queue[origins.Origin]" = field(default_factory=queue.Queue)

    def tunnel(self, port: int) -> Any:
        return sockets.connect(self.arcus.port("explicit"), f"example.com:{port}")

    def inside(self, port: int, alpn: str = "http/1.1") -> Any:
        return sockets.tls(self.tunnel(port), "example.com", self.arcus.ca(), (alpn,))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("smuggling")
    trusted = origins.authority(directory)
    auditor = origins.trusting(trusted, name_consistency={"host": "log"})  # what is asked here is how a message is read
    auditor["tls_interception"] |= {"connection_strategy": "lazy"}  # type: ignore[operator]
    config = base_config(
        directory / "state",
        auditor=[auditor],
        resolver=[{"name": "local", "type": "system", "hosts": {"example.com": ["127.0.0.1"]}}],
        server=[
            {
                "name": "explicit", "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"},
                "timeouts": TIMEOUTS, "trusted_proxies": [],
            }
        ],
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(nginx(tls=trusted.files("example.com")))
        found = Place(stack.enter_context(running(config, directory)), trusted, peer)
        for _ in range(AT_ONCE):
            found.idle.put(stack.enter_context(origins.origin()))
            found.secure.put(stack.enter_context(origins.origin(context=trusted.context("example.com"))))
        yield found


def at_once[Case, Result](cases: list[Case], run: Callable[[Case], Result]) -> list[Result]:
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(run, cases))


@contextlib.contextmanager
def borrowed(origins_: "queue.Queue[origins.Origin]") -> Iterator[origins.Origin]:
    """An origin that only one case talks to at a time."""
    origin = origins_.get()
    origin.clear()
    try:
        yield origin
    finally:
        origins_.put(origin)


def quiet_or_closed(sock: Any, enough: Callable[[bytes], bool], seconds: float = 12.0) -> bytes:
    data = b""
    sock.settimeout(seconds)
    with contextlib.suppress(OSError):
        while not enough(data) and (piece := sock.recv(65536)):
            data += piece
    return data


# -- HTTP/1 requests


def test_http1_requests_are_refused_or_read_alike(place: Place) -> None:
    """Every request of the corpus; also: no field that was meant for us, or for one hop, goes on."""
    wrong = [text for text in at_once(request_corpus.CASES, lambda case: _request(place, case)) if text]
    assert not wrong, "\n".join(wrong)


def _request(place: Place, case: request_corpus.Case) -> str:
    name, raw, expected = case
    bodies, reason = expectation(expected)
    with borrowed(place.idle) as origin:
        with place.tunnel(origin.port) as sock:
            with contextlib.suppress(OSError):
                sock.sendall(raw)
            quiet_or_closed(sock, lambda data: reason is None and data.count(b"HTTP/1.1 200") >= len(bodies))
        got = list(origin.requests)
    if [seen.body for seen in got] != bodies:
        return f"{name}: the origin took {[(seen.line, seen.body) for seen in got]}, expected bodies {bodies}"
    leaked = [field for seen in got for field in LEAKS if seen.values(field.decode())]
    return f"{name}: leaked {leaked}" if leaked else ""


PROXY = b"Host: example.com\r\n"
TE = b"Transfer-Encoding: chunked\r\n"


AMBIGUOUS = [
    b"POST http://example.com/ HTTP/1.1\r\n" + PROXY + b"Content-Length: 3\r\n" + TE + b"\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
    b"POST http://example.com/ HTTP/1.1\r\n" + PROXY + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST http://example.com/ HTTP/1.1\r\n" + PROXY + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST http://example.com/ HTTP/1.1\r\n" + PROXY + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"GET http://example.com/ HTTP/1.1\r\n" + PROXY + b"Host: other.test\r\n\r\n",
    b"GET http://example.com/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
    b"GET http://example.com/ HTTP/1.1\r\n" + PROXY + b"X: a\r\n folded\r\n\r\n",
    b"GET http://example.com/ HTTP/1.1\nHost: example.com\n\n",
    b"GET http://example.com/ HTTP/1.1\r\n" + PROXY + b"X: a\0b\r\n\r\n",
    b"GET http://user:pass@example.com/ HTTP/1.1\r\n" + PROXY + b"\r\n",
    b"CONNECT example.com HTTP/1.1\r\n" + PROXY + b"Content-Length: 3\r\n\r\nabc",
]


@pytest.mark.parametrize("raw", AMBIGUOUS)
def test_ambiguous_requests_to_the_proxy_are_refused_recorded_and_counted(place: Place, raw: bytes) -> None:
    with borrowed(place.idle) as origin:
        host = f"example.com:{origin.port}".encode()
        source = f"127.0.11.{AMBIGUOUS.index(raw) + 1}"
        counted = sum(counter(place.arcus, "arcus_limits_total", word) for word in ("bad_request", "ambiguous_message"))
        got = sockets.exchange(place.arcus.port("explicit"), raw.replace(b"example.com", host), source=source)
        assert got.startswith(b"HTTP/1.1 400 ")
        assert got.count(b"HTTP/1.1") == 1
        assert not origin.accepted
    event = wait_until(lambda: place.arcus.events(source_ip=source), 10, "a record")[0]
    assert (event["reason"], event["status"]) in (("bad_request", 400), ("ambiguous_message", 400))
    words = ("bad_request", "ambiguous_message")
    wait_until(lambda: sum(counter(place.arcus, "arcus_limits_total", word) for word in words) > counted, 10, "the counter")


# -- HTTP/2 to HTTP/1


def test_http2_requests_to_an_http1_server_are_refused_or_framed(place: Place) -> None:
    """The connection to the server is made when the request is known, so that client and server may differ."""
    wrong = [text for text in at_once(test_h2_corpus.CASES, lambda case: _h2_request(place, case)) if text]
    assert not wrong, "\n".join(wrong)


def _h2_request(place: Place, case: Any) -> str:
    name, fields, body, expected = case
    with borrowed(place.secure) as origin:
        with place.inside(origin.port, "h2") as sock:
            assert sock.selected_alpn_protocol() == "h2"
            peer = h2_peer.Peer()
            with contextlib.suppress(OSError):
                sock.sendall(h2_peer.preface() + peer.headers(1, fields, end=body is None))
                if body is not None:
                    sock.sendall(h2_peer.data(1, body))
            quiet_or_closed(sock, _answered)
        got = list(origin.requests)
    wanted = [] if isinstance(expected, Reason) else [expected]
    if [seen.body for seen in got] != wanted:
        return f"{name}: the origin took {[(seen.line, seen.body) for seen in got]}, expected bodies {wanted}"
    return ""


def _answered(data: bytes) -> bool:
    with contextlib.suppress(Exception):
        seen = h2_peer.decode(data)
        return seen.goaway is not None or 1 in seen.resets or 1 in seen.ended
    return False


def test_http2_body_without_a_length_hides_no_request_from_nginx(place: Place) -> None:
    """The body looks like a request. A server that got it without framing would execute it."""
    hidden = b"GET /hidden HTTP/1.1\r\nHost: example.com\r\n\r\n"
    fields = [(b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/seen"), (b":authority", b"example.com")]
    with place.inside(place.nginx.tls_port, "h2") as sock:
        sock.sendall(h2_peer.preface() + h2_peer.Peer().headers(1, fields, end=False) + h2_peer.data(1, hidden))
        quiet_or_closed(sock, _answered)
    assert len(place.nginx.log("/seen")) == 1
    assert place.nginx.log("/hidden", seconds=0.5) == []


# -- trailers


def test_legal_trailers_pass_both_ways(place: Place) -> None:
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\n\r\n"
    with origins.origin(lambda _: reply) as origin, place.tunnel(origin.port) as sock:
        head = b"POST /trailers HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\nTrailer: X-Up\r\n\r\n"
        sock.sendall(head + b"3\r\nabc\r\n0\r\nX-Up: 1\r\n\r\n")
        got = quiet_or_closed(sock, lambda data: data.endswith(b"\r\n\r\n") and b"0\r\n" in data)
    assert [(seen.body, seen.trailers) for seen in origin.requests] == [(b"abc", b"X-Up: 1\r\n")]
    message = read_responses(got, [b"POST"], closed=False)[0]
    assert (message.body, message.trailers) == (b"ok", [(b"X-Sum", b"2")])
    assert place.arcus.event(url=f"http://example.com:{origin.port}/trailers")["reason"] == "ok"


# -- responses


def test_http1_responses_are_refused_or_read_alike(place: Place) -> None:
    cases = [*response_corpus.CASES, *response_corpus.EXTRA]
    wrong = [text for text in at_once(cases, lambda case: _response(place, case)) if text]
    assert not wrong, "\n".join(wrong)


def _response(place: Place, case: response_corpus.Case) -> str:
    name, raw, expected = case
    with origins.origin(hook=lambda sock: _say(sock, raw)) as origin, place.tunnel(origin.port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
        got = quiet_or_closed(sock, lambda _: False)
    try:
        messages = [message for message in read_responses(got, [b"GET"], closed=True) if b" 1" not in message.start[8:10]]
    except NotHttp as error:
        # Cut in the middle, where the client can tell; a good one must not be.
        return "" if isinstance(expected, Reason) else f"{name}: {error}: {got[:300]!r}"
    bodies = [message.body for message in messages]
    if isinstance(expected, Reason):
        return "" if messages and messages[0].start.startswith(b"HTTP/1.1 502") else f"{name}: {got[:300]!r}"
    return "" if bodies == [expected] else f"{name}: {bodies}, expected {expected!r}"


def _say(sock: Any, raw: bytes) -> None:
    sock.recv(65536)
    sock.sendall(raw)
    time.sleep(0.05)
