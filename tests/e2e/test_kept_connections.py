"""Connections to servers that a client leaves idle are its own next connection's, and nobody else's (TLS-12)."""

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.e2e import origins, sockets
from tests.e2e.counters import counter
from tests.e2e.running import Running, base_config, running, wait_until
from tests.e2e.test_auth import PASSWORD, hashed
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.security, pytest.mark.xdist_group("e2e-kept")]

ME, SOMEBODY_ELSE = "127.0.0.1", "127.0.0.9"


@dataclass
class Place:
    arcus: Running
    trusted: origins.Authority
    stranger: origins.Authority

    def ask(self, origin: origins.Origin, path: str = "/", *fields: str, **more: Any) -> bytes:
        return ask(self.arcus, origin, path, *fields, **more)

    def event(self, path: str) -> dict[str, Any]:
        def find() -> dict[str, Any] | None:
            return next((each for each in reversed(self.arcus.events()) if each["url"].endswith(path)), None)

        found: dict[str, Any] = wait_until(find, what=f"an event of {path}")
        return found


def ask(
    arcus: Running,
    origin: origins.Origin,
    path: str = "/",
    *fields: str,
    source: str = ME,
    via: str = "explicit",
    method: str = "GET",
    body: bytes = b"",
    user: str = "",
    ca: str = "default",
    alpn: tuple[str, ...] = ("http/1.1",),
) -> bytes:
    """One request on a connection of its own, and all that came back. The appliance closes first: what it keeps is kept by
    the time that this returns."""
    token = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
    signed = (f"Proxy-Authorization: Basic {token}",) if user else ()
    tunnel = sockets.connect(arcus.port(via), f"origin.test:{origin.port}", *signed, source=source)
    with sockets.tls(tunnel, "origin.test", arcus.ca(ca), alpn) as sock:
        lines = [f"{method} {path} HTTP/1.1", f"Host: origin.test:{origin.port}", "Connection: close", *fields]
        lines += [f"Content-Length: {len(body)}"] if body else []
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return sockets.read_all(sock)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("kept")
    trusted, stranger = origins.authority(directory), origins.authority(directory / "stranger")
    (directory / "stranger").mkdir()
    with running(_config(directory, trusted), directory) as arcus:
        yield Place(arcus, trusted, stranger)


def _config(directory: Path, trusted: origins.Authority, **kept: Any) -> dict[str, Any]:
    interception: dict[str, Any] = {
        "upstream_trust": {"ca_files": [str(trusted.pem)], "system_roots": False},
        "upstream_certificates": {"default": "allow"},
        "kept_connections": {"idle": "30s", **kept},
    }
    users = [{"name": name, "password_hash": hashed()} for name in ("alice", "bob")]
    server = [
        {"name": name, "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}, **more}
        for name, more in (
            ("explicit", {}),
            ("other", {}),
            ("signed", {"user_group": "people"}),
            ("behind", {"trusted_proxies": ["127.0.0.0/8"]}),
        )
    ]
    return base_config(
        directory / "state",
        auditor=[{"name": "inspect", "tls_interception": interception}],
        tenant=[
            {"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct"},
            {
                "tenant_id": "second", "ca": "default", "auditor": "inspect", "escaper": "direct",
                "match": {"networks": ["127.0.7.0/24"]},
            },
        ],
        user_group=[{"name": "people", "static_users": users}],
        server=server,
    )  # fmt: skip


def test_tls_12_the_next_connection_of_a_client_goes_on_with_the_one_left_idle(place: Place) -> None:
    with origins.origin(context=place.trusted.context()) as origin:
        for number in range(3):
            assert place.ask(origin, f"/again/{number}").startswith(b"HTTP/1.1 200")
        assert origin.accepted == 1
        assert [seen.path for seen in origin.requests] == ["/again/0", "/again/1", "/again/2"]
        # hop by hop (RFC 9110 section 7.6.1): the client's wish to close is nobody else's
        assert not any(seen.values("connection") for seen in origin.requests)
    first, second = place.event("/again/0"), place.event("/again/1")
    assert not first["escape"].get("reused", False)
    assert second["escape"].get("reused", False)
    assert second["escape"]["path"] == first["escape"]["path"] == ["direct"]
    assert second["escape"]["resolved_ip"] == first["escape"]["resolved_ip"] == "127.0.0.1"
    assert second["server_tls"]["verify"] == "ok"
    for name in ("certificate", "chain_sha256", "version", "cipher", "alpn", "sni"):
        assert second["server_tls"][name] == first["server_tls"][name]
    assert second["client_tls"]["certificate"] == first["client_tls"]["certificate"]
    assert {"connect", "server_tls"} <= set(first["steps"])
    assert not {"connect", "server_tls"} & set(second["steps"])


@pytest.mark.parametrize(
    "other",
    [
        {"source": SOMEBODY_ELSE},
        {"source": "127.0.7.1"},
        {"via": "other"},
        {"alpn": ("http/1.1", "h3")},
    ],
    ids=["address", "tenant", "listener", "alpn"],
)
def test_tls_12_nobody_else_gets_it(place: Place, other: dict[str, Any]) -> None:
    with origins.origin(context=place.trusted.context()) as origin:
        place.ask(origin)
        place.ask(origin, **other)
        assert origin.accepted == 2
        place.ask(origin)
        assert origin.accepted == 2


def test_tls_12_a_user_has_their_own(place: Place) -> None:
    with origins.origin(context=place.trusted.context()) as origin:
        for user, accepted in (("alice", 1), ("bob", 2), ("alice", 2), ("bob", 2)):
            assert b" 200 " in place.ask(origin, via="signed", user=user)
            assert origin.accepted == accepted


def test_tls_12_a_proxy_that_speaks_for_many_gets_none(place: Place) -> None:
    with origins.origin(context=place.trusted.context()) as origin:
        place.ask(origin, via="behind")
        place.ask(origin, via="behind")
        assert origin.accepted == 2


def test_tls_12_another_port_and_another_name_are_other_places(place: Place) -> None:
    with (
        origins.origin(context=place.trusted.context()) as one,
        origins.origin(context=place.trusted.context()) as two,
    ):
        for origin in (one, two, one, two):
            place.ask(origin)
        assert (one.accepted, two.accepted) == (1, 1)


@pytest.mark.parametrize(("method", "body"), [("POST", b"pay"), ("POST", b""), ("DELETE", b""), ("GET", b"odd"), ("PUT", b"x")])
def test_tls_12_what_cannot_be_repeated_goes_out_on_a_new_connection(place: Place, method: str, body: bytes) -> None:
    with origins.origin(context=place.trusted.context()) as origin:
        place.ask(origin)
        assert b" 200 " in place.ask(origin, "/once", method=method, body=body)
        assert (origin.accepted, len(origin.requests)) == (2, 2)
        assert origin.requests[1].body == body
        place.ask(origin)
        assert origin.accepted == 2  # the one that was not used waits again
    assert not place.event("/once")["escape"].get("reused", False)


def test_tls_12_a_request_is_made_again_when_its_server_was_just_closing(place: Place) -> None:
    """The server takes the second request, and closes instead of answering: as if it had closed a moment before."""
    requests: list[int] = []

    def respond(_: origins.Seen) -> bytes | None:
        requests.append(1)
        return None if len(requests) == 2 else origins.OK

    before = counter(place.arcus, "arcus_upstream_kept_total", "repeated")
    with origins.origin(respond, place.trusted.context()) as origin:
        place.ask(origin)
        assert place.ask(origin, "/twice").endswith(b"ok")
        assert (origin.accepted, [seen.path for seen in origin.requests]) == (2, ["/", "/twice", "/twice"])
    event = place.event("/twice")
    assert (event["status"], event["escape"].get("reused", False)) == (200, False)
    assert len([each for each in place.arcus.events() if each["url"].endswith("/twice")]) == 1
    wait_until(lambda: counter(place.arcus, "arcus_upstream_kept_total", "repeated") == before + 1)


def test_tls_12_a_request_is_made_again_once_only(place: Place) -> None:
    answers = iter([origins.OK])
    with origins.origin(lambda _: next(answers, None), place.trusted.context()) as origin:
        place.ask(origin)
        assert place.ask(origin, "/never").startswith(b"HTTP/1.1 502")
        assert [seen.path for seen in origin.requests] == ["/", "/never", "/never"]


def test_tls_12_a_server_that_closes_while_it_waits_is_noticed(place: Place) -> None:
    def serve(sock: socket.socket) -> None:
        sockets.read_until(sock, b"\r\n\r\n")
        sock.sendall(origins.OK)  # and closes without having said that it would

    before = counter(place.arcus, "arcus_upstream_kept_dropped_total", "server")
    with origins.origin(context=place.trusted.context(), hook=serve) as origin:
        for _ in range(5):
            assert place.ask(origin).endswith(b"ok")
        assert origin.accepted == 5
    wait_until(lambda: counter(place.arcus, "arcus_upstream_kept_dropped_total", "server") > before)


def test_tls_12_a_server_that_speaks_out_of_turn_is_given_to_nobody(place: Place) -> None:
    spoken = threading.Event()

    def serve(sock: socket.socket) -> None:
        sockets.read_until(sock, b"\r\n\r\n")
        sock.sendall(origins.OK)
        if not spoken.wait(20):
            return
        with contextlib.suppress(OSError):
            sock.sendall(origins.answer(b"poison"))
            sockets.read_until(sock, b"\r\n\r\n")

    with origins.origin(context=place.trusted.context(), hook=serve) as origin:
        assert place.ask(origin).endswith(b"ok")
        before = counter(place.arcus, "arcus_upstream_kept_dropped_total", "server")
        spoken.set()
        wait_until(lambda: counter(place.arcus, "arcus_upstream_kept_dropped_total", "server") > before)
        assert place.ask(origin).endswith(b"ok")
        assert origin.accepted == 2


def test_tls_12_words_out_of_turn_that_wait_for_an_acknowledgement_are_not_the_next_answer(place: Place) -> None:
    """Nagle's algorithm holds a second small write back until the first is acknowledged."""

    def serve(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        while sockets.read_until(sock, b"\r\n\r\n"):
            sock.sendall(origins.OK)
            with contextlib.suppress(OSError):
                sock.sendall(origins.answer(b"out of turn"))

    with origins.origin(context=place.trusted.context(), hook=serve) as origin:
        for number in range(20):
            assert place.ask(origin, f"/turn/{number}").endswith(b"ok")


@pytest.mark.parametrize(
    "reply",
    [
        origins.answer(b"", "401 Unauthorized", "WWW-Authenticate: NTLM"),
        origins.answer(b"", "200 OK", "WWW-Authenticate: Negotiate oRQw"),
        origins.answer(b"", "200 OK", "Persistent-Auth: true"),
        origins.answer(b"", "407 Proxy Authentication Required"),
        origins.answer(b"", "200 OK", "Connection: close"),
        origins.OK.replace(b"1.1", b"1.0", 1).replace(b"\r\n", b"\r\nConnection: keep-alive\r\n", 1),
    ],
    ids=["ntlm", "negotiate", "persistent", "proxy", "close", "1.0"],
)
def test_tls_12_an_answer_that_binds_or_ends_a_connection_ends_it_with_its_client(place: Place, reply: bytes) -> None:
    with origins.origin(lambda _: reply, place.trusted.context()) as origin:
        place.ask(origin)
        place.ask(origin)
        assert origin.accepted == 2


@pytest.mark.parametrize(("scheme", "accepted"), [("NTLM", 2), ("negotiate", 2), ("Unheard", 2), ("Basic", 1), ("bearer", 1)])
def test_tls_12_who_signs_in_by_connection_takes_it_along(place: Place, scheme: str, accepted: int) -> None:
    with origins.origin(context=place.trusted.context()) as origin:
        place.ask(origin, "/", f"Authorization: {scheme} TlRMTVNTUAAD")
        place.ask(origin)
        assert origin.accepted == accepted


def test_tls_12_a_certificate_that_only_passed_by_leave_is_judged_each_time(place: Place) -> None:
    with origins.origin(context=place.stranger.context()) as origin:
        assert place.ask(origin, "/tolerated").endswith(b"ok")
        assert place.ask(origin, "/tolerated").endswith(b"ok")
        assert origin.accepted == 2


def test_tls_12_a_server_that_asks_who_we_are_is_not_kept(place: Place) -> None:
    context = place.trusted.context()
    context.verify_mode = ssl.CERT_OPTIONAL
    trustme.CA().configure_trust(context)
    with origins.origin(context=context) as origin:
        place.ask(origin)
        place.ask(origin)
        assert origin.accepted == 2


def test_tls_12_http_2_is_not_kept_and_goes_on_as_ever(place: Place, tmp_path: Path) -> None:
    with origins.origin(context=place.trusted.context()) as origin:
        url = f"https://origin.test:{origin.port}/both"
        trust = ("--cacert", str(place.arcus.ca()), "--interface", "127.0.0.40")
        for _ in range(2):
            answer = place.arcus.curl(*trust, url)  # curl offers both, and gets what the server speaks
            assert (answer.status, answer.body) == (200, b"ok")


def test_tls_12_a_client_that_breaks_off_leaves_nothing(place: Place) -> None:
    asked, go = threading.Event(), threading.Event()

    def respond(_: origins.Seen) -> bytes:
        asked.set()
        go.wait(20)
        return origins.OK

    with origins.origin(respond, place.trusted.context()) as origin:
        tunnel = sockets.connect(place.arcus.port("explicit"), f"origin.test:{origin.port}")
        with sockets.tls(tunnel, "origin.test", place.arcus.ca()) as sock:
            sock.sendall(f"GET /broken HTTP/1.1\r\nHost: origin.test:{origin.port}\r\n\r\n".encode())
            assert asked.wait(20)
        place.event("/broken")
        go.set()
        assert place.ask(origin).endswith(b"ok")
        assert origin.accepted == 2


def test_tls_12_a_switched_protocol_is_nobodys_next(place: Place) -> None:
    from tests.e2e import websocket

    with origins.origin(context=place.trusted.context(), hook=websocket.echo) as origin:
        target = f"origin.test:{origin.port}"
        for accepted in (1, 2):
            tunnel = sockets.connect(place.arcus.port("explicit"), target)
            with sockets.tls(tunnel, "origin.test", place.arcus.ca()) as sock:
                client = websocket.Client(sock, target)
                assert client.ask(b"hello") == b"hello"
                client.close()
            assert origin.accepted == accepted


def test_tls_12_a_reload_starts_with_none(place: Place) -> None:
    with origins.origin(context=place.trusted.context()) as origin:
        place.ask(origin)
        workers = place.arcus.child_pids("worker")
        auditor = place.arcus.config["auditor"][0] | {"alt_svc": "clear"}
        assert place.arcus.reload(place.arcus.config | {"auditor": [auditor]})["ok"]
        wait_until(lambda: not set(workers) & set(place.arcus.child_pids("worker")))
        place.ask(origin)
        assert origin.accepted == 2
        place.ask(origin)
        assert origin.accepted == 2
