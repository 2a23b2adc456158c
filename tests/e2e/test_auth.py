"""Who the user is: Basic on the HTTP proxy, user and password on SOCKS5, nobody where nobody can be asked."""

import base64
import contextlib
import hashlib
import ipaddress
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import netns, origins, sockets
from tests.e2e.running import ROOT, Answer, Running, base_config, running
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-auth")]

PASSWORD = "correct horse: battery"
SALT = "s4lt"


@dataclass
class Place:
    arcus: Running
    plain: origins.Origin
    plain6: origins.Origin
    secure: origins.Origin


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("auth")
    trusted = origins.authority(directory)
    with (
        origins.origin() as plain,
        origins.origin(host="::1") as plain6,
        origins.origin(context=trusted.context()) as secure,
        running(_config(directory, trusted, plain, plain6, secure), directory) as arcus,
    ):
        yield Place(arcus, plain, plain6, secure)


def hashed() -> str:
    command = [sys.executable, "-m", "appliance.cli", "user", "hash"]
    done = subprocess.run(command, input=PASSWORD, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


def _config(directory: Path, trusted: origins.Authority, *found: origins.Origin) -> dict[str, object]:
    strong = {"password_hash": hashed()}
    token = hashlib.sha1((SALT + PASSWORD).encode(), usedforsecurity=False).hexdigest()
    users = [
        {"name": "alice", **strong, "dst_port_filter": [each.port for each in found]},
        {"name": "bob", "token": {"salt": SALT, "sha1": token}},
        {"name": "carol", **strong, "blocked": True},
        {"name": "dan", **strong, "source_ip_filter": ["127.0.0.4/32"]},
        {"name": "erin", **strong, "dst_host_filter_set": {"exact": ["127.0.0.1"]}},
    ]
    tenant = {"ca": "default", "auditor": "inspect", "escaper": "direct"}
    listens = {"explicit": "http_proxy", "socks": "socks_proxy", "optional": "http_proxy", "open": "http_proxy"}
    servers = [
        {"name": name, "type": kind, "listen": {"address": f"127.0.0.1:{free_port()}"}} for name, kind in listens.items()
    ]
    servers[2]["user_group"] = "lenient"
    servers[3]["tenant_context"] = {"tenant_id": "nobody"}
    return base_config(
        directory / "state",
        auditor=[origins.trusting(trusted)],
        user_group=[
            {"name": "staff", "static_users": users},
            {"name": "lenient", "static_users": users[:1], "anonymous": True},
        ],
        tenant=[{"tenant_id": "default", "user_group": "staff", **tenant}, {"tenant_id": "nobody", **tenant}],
        escaper=[
            {
                "name": "direct",
                "type": "direct_fixed",
                "resolver": "local",
                "egress_network_filter": {"allow": ["127.0.0.0/8", "::1/128"]},
            }
        ],
        server=servers,
    )


def _ask(place: Place, user: str, *more: str, password: str = PASSWORD, via: str = "explicit", secure: bool = False) -> Answer:
    origin = place.secure if secure else place.plain
    origin.clear()
    return place.arcus.curl(
        "--proxy-user", f"{user}:{password}", "--cacert", place.arcus.ca(), *more, f"{origin.url}/{user}", via=via
    )


# -- HTTP


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("user", ["alice", "bob"])
def test_usr_01_usr_02_right_password_passes_and_is_recorded(place: Place, user: str, secure: bool) -> None:
    """Alice has an argon2id hash from `arcus user hash`, bob an imported salted SHA-1."""
    got = _ask(place, user, secure=secure)
    origin = place.secure if secure else place.plain
    assert got.status == 200, got
    assert origin.requests[-1].values("proxy-authorization") == []
    event = place.arcus.event(url=f"{origin.url}/{user}")
    assert (event["user_id"], event["user_group"], event["reason"]) == (user, "staff", "ok")


@pytest.mark.parametrize("user", ["alice", "bob", "unheard-of"])
def test_usr_01_wrong_password_is_asked_again(place: Place, user: str) -> None:
    got = _ask(place, user, password="wrong")
    assert got.status == 407
    assert got.headers["proxy-authenticate"].startswith('Basic realm="Arcus"')
    assert not place.plain.requests
    event = place.arcus.event(reason="auth_failed", url=f"{place.plain.url}/{user}")
    assert (event["user_id"], event["action"], event["blocked"]) == ("", "require_auth", True)


@pytest.mark.parametrize("secure", [False, True])
def test_usr_01_pol_07_without_credentials_the_proxy_asks(place: Place, secure: bool) -> None:
    origin = place.secure if secure else place.plain
    origin.clear()
    got = place.arcus.curl("--cacert", place.arcus.ca(), f"{origin.url}/nobody")
    assert int(got.info["http_connect"] if secure else got.status) == 407
    assert not origin.accepted
    assert place.arcus.event(reason="auth_required")["status"] == 407


def test_usr_01_a_challenged_connection_goes_on(place: Place) -> None:
    """RFC 9112 section 9.3: 407 to a CONNECT does not end the connection."""
    target = f"origin.test:{place.secure.port}"
    word = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    with sockets.dial(place.arcus.port("explicit")) as sock:
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert sockets.read_response(sock)[0] == 407
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {word}\r\n\r\n".encode())
        assert sockets.read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "value",
    ["Basic", "Basic !!!", "Basic YWxpY2U=", "Bearer abc", "Basic " + "A" * 4000, "Digest username=alice", "Basic YQ==\tYg=="],
)
def test_usr_01_malformed_credentials_are_refused(place: Place, value: str) -> None:
    place.plain.clear()
    got = place.arcus.curl("-H", f"Proxy-Authorization: {value}", f"{place.plain.url}/malformed")
    assert got.status == 407
    assert not place.plain.requests


def test_usr_01_identity_does_not_stick_to_a_connection(place: Place) -> None:
    """Each explicit request is judged by itself: the second one here has no credentials."""
    word = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    head = f"GET {place.plain.url}/twice HTTP/1.1\r\nHost: origin.test:{place.plain.port}\r\n"
    with sockets.dial(place.arcus.port("explicit")) as sock:
        sock.sendall(f"{head}Proxy-Authorization: Basic {word}\r\n\r\n".encode())
        assert sockets.read_response(sock)[0] == 200
        sock.sendall(f"{head}\r\n".encode())
        assert sockets.read_response(sock)[0] == 407


@pytest.mark.parametrize("secure", [False, True])
def test_usr_06_port_filter(place: Place, secure: bool) -> None:
    port = free_port()
    scheme = "https" if secure else "http"
    got = place.arcus.curl("--proxy-user", f"alice:{PASSWORD}", f"{scheme}://origin.test:{port}/port")
    assert int(got.info["http_connect"] if secure else got.status) == 403
    event = place.arcus.event(reason="port_denied", destination_port=port)
    assert (event["user_id"], event["level"]) == ("alice", "user")


def test_usr_08_right_password_from_the_wrong_address(place: Place) -> None:
    assert _ask(place, "dan").status == 403
    assert not place.plain.requests
    assert place.arcus.event(reason="source_denied")["source_ip"] == "127.0.0.1"
    assert _ask(place, "dan", "--interface", "127.0.0.4").status == 200


def test_usr_01_blocked_user(place: Place) -> None:
    assert _ask(place, "carol").status == 403
    assert not place.plain.requests
    assert place.arcus.event(reason="user_blocked")


def test_usr_01_user_with_a_host_filter(place: Place) -> None:
    assert _ask(place, "erin").status == 403
    assert place.arcus.event(reason="host_denied")["user_id"] == "erin"
    url = f"http://127.0.0.1:{place.plain.port}/erin"
    assert place.arcus.curl("--proxy-user", f"erin:{PASSWORD}", url).status == 200


def test_usr_01_anonymous_group_admits_nobody_but_no_wrong_password(place: Place) -> None:
    assert place.arcus.curl(f"{place.plain.url}/anonymous", via="optional").status == 200
    assert place.arcus.event(url=f"{place.plain.url}/anonymous")["user_id"] == ""
    assert _ask(place, "alice", password="wrong", via="optional").status == 407


def test_usr_13_no_group_no_question(place: Place) -> None:
    got = place.arcus.curl(f"{place.plain.url}/no-group", via="open")
    assert (got.status, place.arcus.event(url=f"{place.plain.url}/no-group")["tenant_id"]) == (200, "nobody")


# -- SOCKS5


def _socks(place: Place, url: str, user: str = "alice", password: str = PASSWORD, scheme: str = "socks5h") -> Answer:
    proxy = f"{scheme}://127.0.0.1:{place.arcus.port('socks')}"
    return place.arcus.curl("--proxy", proxy, "--proxy-user", f"{user}:{password}", "--cacert", place.arcus.ca(), url, via=None)


def test_srv_04_socks_with_user_and_password(place: Place) -> None:
    for origin in (place.plain, place.secure):
        assert _socks(place, f"{origin.url}/socks").status == 200
        event = place.arcus.event(url=f"{origin.url}/socks")
        assert (event["user_id"], event["protocol"], event["server"]) == ("alice", "socks5", "socks")


def test_srv_04_socks_wrong_password(place: Place) -> None:
    with sockets.dial(place.arcus.port("socks")) as sock:
        sock.sendall(b"\x05\x01\x02")
        assert sock.recv(2) == b"\x05\x02"
        sock.sendall(b"\x01\x05alice\x05wrong")
        reply = sockets.read_all(sock)
    assert (reply[0], reply[1] != 0, len(reply)) == (1, True, 2)
    event = place.arcus.event(reason="auth_failed", protocol="socks5")
    assert (event["server"], event["user_id"]) == ("socks", "")


def test_srv_04_socks_without_a_method_that_we_take(place: Place) -> None:
    assert sockets.exchange(place.arcus.port("socks"), b"\x05\x01\x00") == b"\x05\xff"
    assert place.arcus.event(reason="auth_required", protocol="socks5")


@pytest.mark.parametrize(("host", "kind"), [("127.0.0.1", 1), ("origin.test", 3), ("::1", 4)])
def test_srv_04_socks_address_types(place: Place, host: str, kind: int) -> None:
    origin = place.plain6 if kind == 4 else place.plain
    origin.clear()
    with _authenticated(place) as sock:
        address = bytes([len(host)]) + host.encode() if kind == 3 else ipaddress.ip_address(host).packed
        sock.sendall(b"\x05\x01\x00" + bytes([kind]) + address + origin.port.to_bytes(2))
        reply = sock.recv(10)
        assert (reply[1], len(reply)) == (0, 10)
        sock.sendall(f"GET /atyp HTTP/1.1\r\nHost: {f'[{host}]' if kind == 4 else host}:{origin.port}\r\n\r\n".encode())
        assert sockets.read_response(sock)[0] == 200
    assert origin.requests
    assert place.arcus.event(protocol="socks5", destination_host=host, destination_port=origin.port, method="GET")


def _authenticated(place: Place) -> socket.socket:
    sock = sockets.dial(place.arcus.port("socks"))
    password = PASSWORD.encode()
    sock.sendall(b"\x05\x02\x00\x02")
    assert sock.recv(2) == b"\x05\x02"
    sock.sendall(b"\x01\x05alice" + bytes([len(password)]) + password)
    assert sock.recv(2) == b"\x01\x00"
    return sock


@pytest.mark.parametrize(("command", "reply"), [(2, 7), (3, 7), (9, 7)])
def test_srv_04_socks_commands_other_than_connect(place: Place, command: int, reply: int) -> None:
    with _authenticated(place) as sock:
        sock.sendall(bytes([5, command, 0, 1, 127, 0, 0, 1, 0, 80]))
        assert sockets.read_all(sock)[1] == reply
    assert place.arcus.event(reason="socks_command_unsupported")


def test_usr_06_socks_port_filter(place: Place) -> None:
    with _authenticated(place) as sock:
        sock.sendall(bytes([5, 1, 0, 1, 127, 0, 0, 1]) + free_port().to_bytes(2))
        assert sockets.read_all(sock)[1] == 2  # not allowed by ruleset
    assert place.arcus.event(reason="port_denied", protocol="socks5")["user_id"] == "alice"


# -- redirected clients


@pytest.mark.netns
@pytest.mark.skipif(bool(netns.why_not()), reason=netns.why_not() or "-")
def test_usr_13_a_redirected_client_is_known_by_its_address_and_never_asked(tmp_path: Path) -> None:
    """Its tenant has users; it does not know that it speaks to a proxy. A rule that wants a name refuses it, without a 407."""
    trusted = origins.authority(tmp_path)
    policies = [{"name": "who", "config": {"path_regex": ["^/who"], "action": "require_auth"}}]
    users = [{"name": "alice", "token": {"salt": SALT, "sha1": "0" * 40}}]
    config = base_config(
        tmp_path / "state",
        auditor=[origins.trusting(trusted)],
        user_group=[{"name": "staff", "static_users": users}],
        escaper=[{"name": "direct", "type": "direct_fixed", "egress_network_filter": {"allow": [f"{netns.SERVER_IP}/32"]}}],
        tenant=[
            {
                "tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct", "user_group": "staff",
                "policies": policies,
            }
        ],
        server=[{"name": "wire", "type": "tcp_tproxy", "listen": {"address": "0.0.0.0:8081"}}],
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(netns.gateway("arcus-usr"))
        net.nft(netns.redirect(8081))
        with netns.entered(net.server):
            origin = stack.enter_context(origins.origin(context=trusted.context(netns.SERVER_IP), host=netns.SERVER_IP))
        arcus = stack.enter_context(running(config, tmp_path, net.inside(net.gateway)))
        arcus.prefix = net.inside(net.client)
        url = f"https://{netns.SERVER_IP}:{origin.port}"
        ask = ("--cacert", arcus.ca(), "--noproxy", "*")
        assert [arcus.curl(*ask, f"{url}{path}", via=None).status for path in ("/", "/who")] == [200, 403]
        event = arcus.event(url=f"{url}/")
        assert (event["user_id"], event["source_ip"], event["protocol"]) == ("", netns.CLIENT_IP, "tproxy")
        assert arcus.event(url=f"{url}/who")["reason"] == "auth_required"
