"""C8: every way to name one host and to mean another, against a rule that blocks it: explicit, by SOCKS and transparent.

``front.test`` may be reached and ``evil.test`` may not; both are served by one machine with one certificate, as a content
network does. A form passes the appliance when its request reaches that machine at all.
"""

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from tests.e2e import netns, origins, sockets
from tests.e2e.netns import SERVER_IP, gateway
from tests.e2e.running import Running, base_config, running, wait_until
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.security, pytest.mark.xdist_group("e2e-fronting")]

NAMES = ("front.test", "evil.test", "sub.evil.test", "other.test", "shut.test", "private.test")
IP = "127.0.0.1"


@dataclass(frozen=True)
class Form:
    """``to`` is the host of the CONNECT or SOCKS request. ``head`` is what is sent; PATH and the port are filled in."""

    label: str
    to: str
    sni: str | None
    host: str
    head: str = "GET PATH HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"
    tls: bool = True
    reasons: tuple[str, ...] = ("policy_blocked",)

    def request(self, path: str) -> bytes:
        return self.head.replace("PATH", path).replace("HOST", self.host).encode()


TWO = "GET PATH HTTP/1.1\r\nHost: front.test\r\nHost: evil.test\r\n\r\n"
SECOND = "GET /first HTTP/1.1\r\nHost: front.test\r\n\r\nGET PATH HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n"
ABSOLUTE = "GET https://evil.test:PORTPATH HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\n\r\n"
UNCLEAR = ("bad_request", "ambiguous_message")

FORMS = [
    Form("all names evil", "evil.test", "evil.test", "evil.test"),
    Form("host", "front.test", "front.test", "evil.test"),
    Form("sni", "front.test", "evil.test", "front.test"),
    Form("sni and host", "front.test", "evil.test", "evil.test"),
    Form("connect", "evil.test", "front.test", "front.test"),
    Form("connect and host", "evil.test", "front.test", "evil.test"),
    Form("connect and sni", "evil.test", "evil.test", "front.test"),
    Form("address, host", IP, "front.test", "evil.test"),
    Form("address, sni", IP, "evil.test", "front.test"),
    Form("address, sni and host", IP, "evil.test", "evil.test"),
    Form("address without sni", IP, None, "evil.test"),
    Form("no sni, host", "front.test", None, "evil.test"),
    Form("no sni, connect", "evil.test", None, "front.test"),
    Form("upper case", "front.test", "front.test", "EVIL.TEST"),
    Form("trailing dot", "front.test", "front.test", "evil.test."),
    Form("port", "front.test", "front.test", "evil.test:443"),
    Form("below", "front.test", "front.test", "sub.evil.test"),
    Form("upper case sni", "front.test", "EVIL.test", "front.test"),
    Form("second request", "front.test", "front.test", "", SECOND),
    Form("absolute form", "front.test", "front.test", "", ABSOLUTE, reasons=("policy_blocked", *UNCLEAR)),
    Form("two hosts", "front.test", "front.test", "", TWO, reasons=UNCLEAR),
    Form("user information", "front.test", "front.test", "front.test@evil.test", reasons=UNCLEAR),
    Form("list", "front.test", "front.test", "front.test, evil.test", reasons=UNCLEAR),
    Form("leading space", "front.test", "front.test", " evil.test", reasons=("policy_blocked", *UNCLEAR)),
    Form("plain in a tunnel", "front.test", None, "evil.test", tls=False),
    Form("plain to an address", IP, None, "evil.test", tls=False),
]  # fmt: skip
PASSING = [
    Form("honest", "front.test", "front.test", "front.test"),
    Form("honest by address", IP, "front.test", "front.test"),
    Form("honest plain", "front.test", None, "front.test", tls=False),
]


class Unread(list[bytes]):
    """Everything that a server got."""

    def keep(self, sock: socket.socket) -> None:
        while data := sock.recv(65536):
            self.append(data)


@dataclass
class Place:
    arcus: Running
    secure: origins.Origin
    plain: origins.Origin
    elsewhere: origins.Origin
    second: origins.Origin
    """Speaks HTTP/2, or says so: what it is sent is kept in ``unread``."""
    unread: "Unread"
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(10_000)))

    def tunnel(self, kind: str, to: str, port: int) -> socket.socket:
        if kind == "explicit":
            return sockets.connect(self.arcus.port("explicit"), f"{to}:{port}")
        return socks(self.arcus.port("socks"), to, port)

    def reached(self, path: str) -> bool:
        return any(path in seen.path for origin in (self.secure, self.plain, self.elsewhere) for seen in origin.requests)

    def ask(self, kind: str, form: Form) -> tuple[bytes, str]:
        """What came back, and the path that was asked for."""
        path = f"/n{next(self.numbers)}/"
        port = self.secure.port if form.tls else self.plain.port
        data = form.request(path).replace(b"PORT", str(port).encode())
        with contextlib.suppress(OSError), self.tunnel(kind, form.to, port) as sock:
            stream = _tls(sock, form.sni) if form.tls else sock
            with stream:
                stream.sendall(data)
                return sockets.read_all(stream), path
        return b"", path


def _tls(sock: socket.socket, sni: str | None, *alpn: str) -> ssl.SSLSocket:
    return sockets.trusting(None, alpn or ("http/1.1",)).wrap_socket(sock, server_hostname=sni)


def socks(listener: int, host: str, port: int) -> socket.socket:
    sock = sockets.dial(listener)
    sock.sendall(b"\x05\x01\x00")
    assert sock.recv(2) == b"\x05\x00"
    where = b"\x01" + socket.inet_aton(host) if host == IP else b"\x03" + bytes([len(host)]) + host.encode()
    sock.sendall(b"\x05\x01\x00" + where + struct.pack(">H", port))
    assert sock.recv(10)[1] == 0
    return sock


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("fronting")
    trusted, unread = origins.authority(directory), Unread()
    with (
        origins.origin(
            context=trusted.context("front.test", "evil.test", "*.evil.test", "shut.test", "*.shut.test", IP)
        ) as secure,
        origins.origin(context=trusted.context("front.test", "evil.test", alpn=("h2",)), hook=unread.keep) as second,
        origins.origin() as plain,
        origins.origin(context=trusted.context("front.test"), host="127.0.0.2") as elsewhere,
        running(_config(directory, trusted), directory) as arcus,
    ):
        yield Place(arcus, secure, plain, elsewhere, second, unread)


def _config(directory: Path, trusted: origins.Authority, **consistency: str) -> dict[str, Any]:
    rules = [
        {"name": "no-shut", "action": "block", "hosts": [".shut.test"], "reason": "shut for good"},
        {"name": "private", "action": "splice", "hosts": [".private.test"]},
    ]
    interception = {"upstream_trust": {"ca_files": [str(trusted.pem)], "system_roots": False}, "rules": rules, "http2": True}
    policies = [{"name": "no-evil", "config": {"hosts": {"child": ["evil.test"]}, "reason": "evil"}}]
    base = {"ca": "default", "escaper": "direct", "policies": policies}
    strict = {"sni": "block", "host": "block", "reuse": "block", "address": "block"}
    loose = {"sni": "log", "host": "log", "reuse": "log", "address": "log"}
    networks = {"strict": "127.0.6.0/24", "loose": "127.0.7.0/24"}
    return base_config(
        directory / "state",
        resolver=[{"name": "local", "type": "system", "hosts": {name: [IP] for name in NAMES}}],
        auditor=[
            {"name": "inspect", "tls_interception": interception},
            {"name": "strict", "tls_interception": interception, "name_consistency": strict},
            {"name": "loose", "tls_interception": interception, "name_consistency": loose},
        ],
        tenant=[
            {"tenant_id": "default", "auditor": "inspect", **base},
            *({"tenant_id": name, "auditor": name, "match": {"networks": [net]}, **base} for name, net in networks.items()),
        ],
        server=[
            {"name": "explicit", "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}},
            {"name": "socks", "type": "socks_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}},
        ],
    )


def blocked_reason(place: Place, path: str, answer: bytes) -> str:
    if answer:
        head = answer.rpartition(b"HTTP/1.1 ")[2]
        assert head[:3] in (b"400", b"403", b"421"), answer[:300]
        fields = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")[1:])
        return fields.get("X-Arcus-Reason", "bad_request")
    events = place.arcus.events()
    return str(events[-1]["reason"]) if events else ""


@pytest.mark.parametrize("kind", ["explicit", "socks"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.label)
def test_c8_a_blocked_name_is_blocked_however_it_is_hidden(place: Place, kind: str, form: Form) -> None:
    answer, path = place.ask(kind, form)
    assert not place.reached(path), "the request went out"
    assert blocked_reason(place, path, answer) in form.reasons, answer[:400]


@pytest.mark.parametrize("form", [form for form in FORMS if form.tls], ids=lambda form: form.label)
def test_c8_a_name_that_a_decryption_rule_blocks_is_blocked_however_it_is_hidden(place: Place, form: Form) -> None:
    """The same forms, where the access policy has nothing to say about the name."""

    def shut(text: str) -> str:
        return text.replace("evil", "shut").replace("EVIL", "SHUT")

    hidden = Form(form.label, shut(form.to), form.sni and shut(form.sni), shut(form.host), shut(form.head))
    answer, path = place.ask("explicit", hidden)
    assert not place.reached(path), "the request went out"
    assert blocked_reason(place, path, answer) in ("decrypt_blocked", *form.reasons[form.reasons[0] == "policy_blocked" :])


@pytest.mark.parametrize("kind", ["explicit", "socks"])
@pytest.mark.parametrize("form", PASSING, ids=lambda form: form.label)
def test_c8_an_honest_request_passes(place: Place, kind: str, form: Form) -> None:
    answer, path = place.ask(kind, form)
    assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
    assert place.reached(path)


def test_c8_there_are_as_many_forms_as_were_tried_elsewhere() -> None:
    assert len(FORMS) == 26


# -- HTTP/2


def ask_h2(place: Place, sni: str, *fields: tuple[str, str], second: tuple[tuple[str, str], ...] = ()) -> list[str]:
    """The statuses of the requests, each a list of fields, on one connection to ``front.test``."""
    config = h2.config.H2Configuration(
        header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
    )
    h2c = h2.connection.H2Connection(config)
    statuses = []
    with place.tunnel("explicit", "front.test", place.second.port) as sock, _tls(sock, sni, "h2") as stream:
        assert stream.selected_alpn_protocol() == "h2"
        h2c.initiate_connection()
        for request in (fields, second) if second else (fields,):
            h2c.send_headers(h2c.get_next_available_stream_id(), list(request), end_stream=True)
            stream.sendall(h2c.data_to_send())
            statuses.append(_status(h2c, stream))
    return statuses


def _status(h2c: h2.connection.H2Connection, stream: ssl.SSLSocket) -> str:
    while data := stream.recv(65536):
        for event in h2c.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                return str(dict(event.headers)[":status"])
            if isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                return "reset"
        stream.sendall(h2c.data_to_send())
    return "closed"


def request2(authority: str, path: str, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", path), *more


@pytest.mark.parametrize(
    ("fields", "statuses"),
    [
        (request2("evil.test", "/h2/authority"), {"403"}),
        (request2("front.test", "/h2/host", ("host", "evil.test")), {"403", "400", "reset"}),
        (request2("evil.test", "/h2/both", ("host", "front.test")), {"403", "400", "reset"}),
        (((":method", "GET"), (":scheme", "https"), (":path", "/h2/none"), ("host", "evil.test")), {"403", "400", "reset"}),
    ],
)
def test_c8_http_2_names_as_well(place: Place, fields: tuple[tuple[str, str], ...], statuses: set[str]) -> None:
    assert set(ask_h2(place, "front.test", *fields)) <= statuses
    assert not place.unread


def test_c8_a_second_stream_for_another_host(place: Place) -> None:
    first, second = request2("other.test", "/h2/first"), request2("evil.test", "/h2/second")
    assert ask_h2(place, "front.test", *first, second=second) == ["421", "403"]
    assert not place.unread


# -- plain requests to the proxy itself


@pytest.mark.parametrize(
    ("line", "host", "reasons"),
    [
        ("http://evil.test:PORT/plain/1", "front.test:PORT", ("policy_blocked", *UNCLEAR)),
        ("http://front.test:PORT/plain/2", "evil.test:PORT", ("policy_blocked", *UNCLEAR)),
        ("http://front.test@evil.test:PORT/plain/3", "front.test:PORT", ("policy_blocked", *UNCLEAR)),
    ],
)
def test_c8_absolute_form_and_host(place: Place, line: str, host: str, reasons: tuple[str, ...]) -> None:
    head = f"GET {line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".replace("PORT", str(place.plain.port))
    answer = sockets.exchange(place.arcus.port("explicit"), head.encode())
    assert blocked_reason(place, "", answer) in reasons
    assert not place.reached("/plain/")


# -- what is done about names that differ but are both allowed


def ask(place: Place, to: str, sni: str | None, host: str, source: str = "", port: int = 0) -> tuple[int, dict[str, str], str]:
    path = f"/m{next(place.numbers)}/"
    with (
        sockets.connect(place.arcus.port("explicit"), f"{to}:{port or place.secure.port}", source=source) as sock,
        _tls(sock, sni) as stream,
    ):
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        status, fields, _ = sockets.read_response(stream)
    return status, fields, path


def event_of(place: "Place | Scene", path: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = wait_until(lambda: [e for e in place.arcus.events() if e["url"].endswith(path)], 15, path)
    return found[-1]


def test_c8_a_host_that_the_certificate_is_not_for_is_misdirected(place: Place) -> None:
    status, fields, path = ask(place, "front.test", "front.test", "other.test")
    assert (status, fields["x-arcus-reason"], place.reached(path)) == (421, "host_mismatch", False)
    event = event_of(place, path)
    assert (event["reason"], event["rule"], event["level"]) == ("host_mismatch", "name_consistency.host", "consistency")
    assert event["mismatches"] == ["host: other.test, not front.test"]


def test_c8_the_loose_tenant_logs_what_the_strict_one_blocks(place: Place) -> None:
    status, _, path = ask(place, "front.test", "front.test", "other.test", "127.0.7.1")
    assert (status, place.reached(path)) == (200, True)
    assert event_of(place, path)["mismatches"] == ["host: other.test, not front.test"]
    status, fields, path = ask(place, "front.test", "front.test", IP, "127.0.6.1")
    assert (status, fields["x-arcus-reason"], place.reached(path)) == (421, "host_mismatch", False)
    assert event_of(place, path)["mismatches"] == [f"reuse: {IP}, not front.test"]


def test_c8_a_host_that_the_certificate_is_for_is_connection_reuse(place: Place) -> None:
    status, _, path = ask(place, "front.test", "front.test", IP)
    assert (status, place.reached(path)) == (200, True)
    assert event_of(place, path)["mismatches"] == [f"reuse: {IP}, not front.test"]


@pytest.mark.parametrize(("source", "expected"), [("", 200), ("127.0.6.1", 403)])
def test_c8_the_server_name_is_not_the_connect_host(place: Place, source: str, expected: int) -> None:
    status, fields, path = ask(place, "other.test", "front.test", "front.test", source)
    assert (status, place.reached(path)) == (expected, expected == 200)
    event = event_of(place, path)
    assert event["mismatches"] == ["sni: front.test, not other.test"]
    assert event["reason"] == ("ok" if expected == 200 else "sni_mismatch")


@pytest.mark.parametrize(
    ("source", "expected", "there"), [("", 200, "secure"), ("127.0.6.1", 403, ""), ("127.0.7.1", 200, "chosen")]
)
def test_c8_an_address_that_is_not_the_names(place: Place, source: str, expected: int, there: str, tmp_path: Path) -> None:
    """By default the connection goes to the name's own address, whatever address the client chose."""
    with socket.create_server(("127.0.0.2", place.secure.port)) as listener:
        listener.settimeout(0.2)
        if there == "chosen":
            with sockets.connect(place.arcus.port("explicit"), f"127.0.0.2:{place.secure.port}", source=source) as sock:
                sock.sendall(sockets.hello("front.test"))
                listener.settimeout(10)
                listener.accept()[0].close()
            return
        status, fields, path = ask(place, "127.0.0.2", "front.test", "front.test", source)
        assert (status, place.reached(path)) == (expected, bool(there))
        with pytest.raises(TimeoutError):
            listener.accept()
    event = event_of(place, path)
    assert event["mismatches"] == ["address: 127.0.0.2 is none of front.test's"]
    assert event["reason"] == ("ok" if expected == 200 else "address_mismatch")


def test_c8_a_name_that_does_not_resolve_is_not_reached_at_the_clients_address(place: Place) -> None:
    status, fields, path = ask(place, IP, "nowhere.invalid", "nowhere.invalid")
    assert (status, fields["x-arcus-reason"], place.reached(path)) == (502, "dns_failed", False)
    assert event_of(place, path)["mismatches"] == ["address: nowhere.invalid does not resolve"]


@pytest.mark.parametrize(("host", "reason"), [("shut.test", "decrypt_blocked"), ("private.test", "host_mismatch")])
def test_c8_the_decryption_rules_are_asked_about_the_host_as_well(place: Place, host: str, reason: str) -> None:
    """A host that a rule blocks is blocked; one that a rule exempts is not decrypted on another's connection."""
    status, fields, path = ask(place, "front.test", "front.test", host, "127.0.7.1")
    assert (status, fields["x-arcus-reason"], place.reached(path)) == (421 if host == "private.test" else 403, reason, False)
    if host == "shut.test":
        event = event_of(place, path)
        assert (event["rule"], event["detail"]) == ("no-shut", "shut for good")


# -- transparent


WHY_NOT = netns.why_not()
PORT = 8091


@dataclass
class Scene:
    net: netns.Gateway
    arcus: Running
    secure: origins.Origin
    plain: origins.Origin

    def ask(self, address: str, sni: str | None, host: str, path: str, *, tls: bool = True) -> bytes:
        with netns.entered(self.net.client):
            sock = socket.socket()
        with contextlib.suppress(OSError), sock:
            sock.settimeout(15)
            sock.connect((address, self.secure.port if tls else self.plain.port))
            with _tls(sock, sni) if tls else sock as stream:
                stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                return sockets.read_all(stream)
        return b""

    def reached(self, path: str) -> bool:
        return any(path in seen.path for origin in (self.secure, self.plain) for seen in origin.requests)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("transparent")
    trusted = origins.authority(directory)
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(gateway("arcus-fr"))
        with netns.entered(net.server):
            context = trusted.context("front.test", "evil.test", SERVER_IP)
            secure = stack.enter_context(origins.origin(context=context, host=SERVER_IP))
            plain = stack.enter_context(origins.origin(host=SERVER_IP))
        net.nft(netns.redirect(PORT))
        config = _config(directory, trusted)
        config["resolver"][0]["hosts"] = {name: [SERVER_IP] for name in NAMES}
        config["escaper"][0]["egress_network_filter"] = {"allow": ["10.72.0.0/24"]}
        config["server"] = [{"name": "wire", "type": "tcp_tproxy", "listen": {"address": f"0.0.0.0:{PORT}"}}]
        arcus = stack.enter_context(running(config, directory, net.inside(net.gateway)))
        yield Scene(net, arcus, secure, plain)


@pytest.mark.netns
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-")
@pytest.mark.parametrize(
    ("address", "sni", "host", "tls"),
    [
        (SERVER_IP, "evil.test", "evil.test", True),
        (SERVER_IP, "front.test", "evil.test", True),
        (SERVER_IP, "evil.test", "front.test", True),
        (SERVER_IP, None, "evil.test", True),
        (SERVER_IP, None, "evil.test", False),
        ("198.51.100.1", "evil.test", "front.test", True),
        ("198.51.100.1", "front.test", "evil.test", True),
        ("198.51.100.1", None, "evil.test", False),
    ],
)
def test_c8_transparent_a_blocked_name_is_blocked(scene: Scene, address: str, sni: str | None, host: str, tls: bool) -> None:
    path = f"/t/{address}/{sni}/{host}/{tls}"
    answer = scene.ask(address, sni, host, path, tls=tls)
    assert answer.startswith((b"HTTP/1.1 403", b"HTTP/1.1 421")), answer[:300]
    assert not scene.reached(path)


@pytest.mark.netns
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-")
@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_c8_transparent_the_name_leads_to_its_own_address(scene: Scene, tls: bool) -> None:
    """T26: whatever address was dialled, the connection goes where the name leads, and the record says so."""
    path = f"/t/moved/{tls}"
    assert scene.ask("198.51.100.1", "front.test" if tls else None, "front.test", path, tls=tls).startswith(b"HTTP/1.1 200")
    assert scene.reached(path)
    event = event_of(scene, path)
    assert event["mismatches"] == ["address: 198.51.100.1 is none of front.test's"]
    assert (event["destination_host"], event["escape"]["resolved_ip"]) == ("front.test", SERVER_IP)
    assert event["original_dst"].startswith("198.51.100.1:")
