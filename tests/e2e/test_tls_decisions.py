"""TLS: decrypt, splice or block, by whom and whereto; the leaf that clients see; servers that are not to be trusted."""

import base64
import concurrent.futures
import datetime
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests.e2e import origins, sockets
from tests.e2e.counters import counter, rises
from tests.e2e.running import ROOT, Running, base_config, running, wait_until
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-tls")]

HOSTS = ("origin.test", "bank.test", "www.bank.test", "notbank.test", "blocked.test", "both.test", "many.test", "own.test")
PASSWORD = "p4ssword"
LONG = "a" * 60 + ".long.test"


@dataclass
class Place:
    arcus: Running
    secure: origins.Origin
    plain: origins.Origin
    directory: Path
    trusted: origins.Authority

    def curl(self, host: str, path: str = "/", *more: str | Path, port: int = 0, ca: str = "default") -> Any:
        return self.arcus.curl("--cacert", self.arcus.ca(ca), *more, f"https://{host}:{port or self.secure.port}{path}")

    def leaf(self, host: str, port: int = 0) -> x509.Certificate:
        with (
            sockets.connect(self.arcus.port("explicit"), f"{host}:{port or self.secure.port}") as tunnel,
            sockets.tls(tunnel, host, self.arcus.ca()) as sock,
        ):
            return x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("tls")
    trusted = origins.authority(directory)
    with (
        origins.origin(context=trusted.context(*HOSTS, LONG, "127.0.0.1")) as secure,
        origins.origin() as plain,
        running(_config(directory, trusted), directory) as arcus,
    ):
        yield Place(arcus, secure, plain, directory, trusted)


def _config(directory: Path, trusted: origins.Authority) -> dict[str, Any]:
    hashed = subprocess.run(
        [sys.executable, "-m", "appliance.cli", "user", "hash"],
        input=PASSWORD, capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout.strip()  # fmt: skip
    rules = [
        {"name": "alice-is-private", "action": "splice", "users": ["alice"], "hosts": ["both.test"], "reason": "works council"},
        {"name": "no-way", "action": "block", "hosts": ["blocked.test"], "reason": "never", "page": False},
        {"name": "guests", "action": "splice", "networks": ["127.0.5.0/24"]},
    ]
    # The CA of tenant "other" is made beforehand and put among the trusted roots, as an operator who rolls it out would.
    inspect = origins.trusting(trusted)
    interception = inspect["tls_interception"]
    assert isinstance(interception, dict)
    roots = [str(trusted.pem), *(str(path) for path in _own_authorities(directory))]
    interception |= {"rules": rules, "splice": [".bank.test"], "upstream_trust": {"ca_files": roots, "system_roots": False}}
    lazy = {"name": "lazy", "tls_interception": interception | {"connection_strategy": "lazy"}}
    tenant = {"ca": "default", "escaper": "direct", "user_group": "staff"}
    group = {"name": "staff", "anonymous": True, "static_users": [{"name": "alice", "password_hash": hashed}]}
    own = {"name": "default", "certificate": str(directory / "own.pem"), "private_key": str(directory / "own.key")}
    return base_config(
        directory / "state",
        ca=[own, {"name": "other", "common_name": "Other CA"}],
        resolver=[{"name": "local", "type": "system", "hosts": {host: ["127.0.0.1"] for host in (*HOSTS, LONG)}}],
        auditor=[inspect, lazy, {"name": "off", "tls_interception": None}, {"name": "loose", "unknown_protocol": "bypass"}],
        user_group=[group],
        tenant=[
            {"tenant_id": "default", "auditor": "inspect", **tenant},
            {"tenant_id": "lazy", "auditor": "lazy", "match": {"networks": ["127.0.6.0/24"]}, **tenant},
            {"tenant_id": "off", "auditor": "off", "match": {"networks": ["127.0.7.0/24"]}, **tenant},
            {"tenant_id": "loose", "auditor": "loose", "match": {"networks": ["127.0.8.0/24"]}, **tenant},
        ],
        server=[
            {
                "name": "explicit", "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"},
                "timeouts": {"handshake": "6s"},
            },
            {"name": "socks", "type": "socks_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}},
        ],
    )  # fmt: skip


def _own_authorities(directory: Path) -> list[Path]:
    """A CA of ours, brought by the operator, which is also among the roots that servers are verified with."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Brought Inspection CA")])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    (directory / "own.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (directory / "own.key").touch(0o600)
    (directory / "own.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (directory / "state" / "ca" / "default").mkdir(parents=True)
    (directory / "state" / "ca" / "default" / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    return [directory / "own.pem"]


def _fingerprint(context_port: int) -> bytes:
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", context_port)))


def _shown(place: Place, host: str, source: str = "", *fields: str) -> bytes:
    """The certificate that a client sees, unverified."""
    with (
        sockets.connect(place.arcus.port("explicit"), f"{host}:{place.secure.port}", *fields, source=source) as tunnel,
        sockets.tls(tunnel, host, None) as sock,
    ):
        return sock.getpeercert(binary_form=True) or b""


# -- the rules


@pytest.mark.parametrize("host", ["bank.test", "www.bank.test"])
def test_tls_01_spliced_host_shows_its_own_certificate(place: Place, host: str) -> None:
    assert _shown(place, host) == _fingerprint(place.secure.port)
    event = place.arcus.event(destination_host=host, kind="tunnel")
    assert (event["decrypt"], event["event_type"], event["not_scanned"]) == ("splice", "allow", ["spliced"])
    assert event["bytes_sent"] > 500


def test_tls_01_a_name_that_ends_alike_is_decrypted(place: Place) -> None:
    assert _shown(place, "notbank.test") != _fingerprint(place.secure.port)
    assert place.curl("notbank.test").status == 200


def test_c1_same_host_decrypted_for_one_user_and_spliced_for_another(place: Place) -> None:
    """C1: rule and reason stand in the record."""
    word = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    assert _shown(place, "both.test", "", f"Proxy-Authorization: Basic {word}") == _fingerprint(place.secure.port)
    spliced = place.arcus.event(destination_host="both.test", user_id="alice")
    assert (spliced["decrypt"], spliced["decrypt_rule"], spliced["decrypt_text"]) == (
        "splice",
        "alice-is-private",
        "works council",
    )
    assert place.curl("both.test", "/bob").status == 200
    decrypted = place.arcus.event(destination_host="both.test", method="GET")
    assert (decrypted["decrypt"], decrypted["decrypt_rule"], decrypted["user_id"]) == ("intercept", "default", "")


def test_c1_splice_by_source_network(place: Place) -> None:
    assert _shown(place, "origin.test", "127.0.5.1") == _fingerprint(place.secure.port)
    assert place.arcus.event(source_ip="127.0.5.1")["decrypt_rule"] == "guests"


def test_c1_blocked_by_a_decryption_rule_with_an_alert(place: Place) -> None:
    place.secure.clear()
    got = place.curl("blocked.test")
    assert (got.code, got.status) == (35, 0)
    assert "access denied" in got.error
    event = place.arcus.event(reason="decrypt_blocked")
    assert (event["rule"], event["decrypt"], event["event_type"], event["detail"]) == ("no-way", "block", "block", "never")
    assert not place.secure.accepted


def test_c1_nothing_is_decrypted_where_interception_is_off(place: Place) -> None:
    assert _shown(place, "origin.test", "127.0.7.1") == _fingerprint(place.secure.port)
    assert place.arcus.event(source_ip="127.0.7.1", kind="tunnel")["decrypt"] == "splice"


@pytest.mark.security
def test_c1_a_splice_name_is_no_ticket_to_another_server(place: Place) -> None:
    """CONNECT to an address with the SNI of a spliced host: what is dialled is that host, not the address."""
    with (
        origins.origin() as elsewhere,
        sockets.connect(place.arcus.port("explicit"), f"127.0.0.1:{elsewhere.port}") as tunnel,
    ):
        tunnel.sendall(sockets.hello("bank.test"))
        wait_until(lambda: elsewhere.accepted, 10, "the server was reached")
    event = place.arcus.event(destination_host="bank.test", destination_port=elsewhere.port)
    assert event["escape"]["resolved_ip"] == "127.0.0.1"
    assert event["client_hello"]["sni"] == "bank.test"


# -- recognition


@pytest.mark.security
@pytest.mark.parametrize("how", ["a byte at a time", "two bytes, a pause, the rest", "records of one byte"])
def test_tls_01_a_slow_client_hello_is_inspected(place: Place, how: str) -> None:
    """Neither the pause nor the split lets the connection through undecrypted."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = sockets.trusting(place.arcus.ca()).wrap_bio(incoming, outgoing, server_hostname="origin.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    with sockets.connect(place.arcus.port("explicit"), f"origin.test:{place.secure.port}") as sock:
        for piece, pause in _split(hello, how):
            sock.sendall(piece)
            time.sleep(pause)
        _drive(client, incoming, outgoing, sock, client.do_handshake)
        issuer = x509.load_der_x509_certificate(client.getpeercert(binary_form=True) or b"").issuer
        client.write(f"GET /slow-hello HTTP/1.1\r\nHost: origin.test:{place.secure.port}\r\nConnection: close\r\n\r\n".encode())
        sock.sendall(outgoing.read())
        answer = _drive(client, incoming, outgoing, sock, lambda: client.read(65536))
    assert issuer == x509.load_pem_x509_certificate(place.arcus.ca().read_bytes()).subject
    assert answer.startswith(b"HTTP/1.1 200")
    url = f"{place.secure.url}/slow-hello"
    assert place.arcus.event(url=url)["decrypt"] == "intercept"


def _split(hello: bytes, how: str) -> list[tuple[bytes, float]]:
    if how == "a byte at a time":
        return [(hello[at : at + 1], 0.001) for at in range(len(hello))]
    if how.startswith("two"):
        return [(hello[:2], 0.6), (hello[2:], 0.0)]
    body = hello[5:]
    records = (b"\x16\x03\x01\x00\x01" + body[at : at + 1] for at in range(min(len(body), 100)))
    rest = body[100:]
    return [(b"".join(records), 0.0), (b"\x16\x03\x01" + len(rest).to_bytes(2) + rest, 0.0)]


def _drive(client: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, sock: Any, step: Any) -> Any:
    sock.settimeout(15)
    while True:
        try:
            result = step()
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            data = sock.recv(65536)
            if not data:
                raise ConnectionError("closed") from None
            incoming.write(data)
            continue
        sock.sendall(outgoing.read())
        return result


@pytest.mark.security
@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x01\x02\x03\x04\x05",
        b"EHLO mail.test\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        b"\x80\x2e\x01\x00\x02",
        b"\x05\x01\x00",
        b"\x13BitTorrent protocol",
    ],
)
def test_tls_01_what_is_neither_tls_nor_http_is_refused(place: Place, data: bytes) -> None:
    """Closed, recorded and counted, without a connection to the server."""
    place.plain.clear()
    before = len(place.arcus.events(reason="unknown_protocol"))
    counted = counter(place.arcus, "arcus_limits_total", "unknown_protocol")
    with sockets.connect(place.arcus.port("explicit"), f"origin.test:{place.plain.port}") as sock:
        sock.sendall(data)
        assert sockets.read_all(sock) == b""
    assert not place.plain.accepted
    event = wait_until(lambda: place.arcus.events(reason="unknown_protocol")[before:], 10, "a record")[0]
    assert (event["destination_host"], event["destination_port"]) == ("origin.test", place.plain.port)
    rises(place.arcus, counted, "arcus_limits_total", "unknown_protocol")


def test_tls_01_unknown_protocols_pass_where_allowed_and_are_recorded(place: Place) -> None:
    with (
        origins.origin(hook=lambda sock: sock.sendall(b"echo " + sock.recv(100))) as talker,
        sockets.connect(place.arcus.port("explicit"), f"127.0.0.1:{talker.port}", source="127.0.8.1") as sock,
    ):
        sock.sendall(b"\x00\x01binary")
        assert sockets.read_all(sock) == b"echo \x00\x01binary"
    event = place.arcus.event(destination_port=talker.port)
    assert (event["decrypt"], event["decrypt_rule"], event["tenant_id"]) == ("splice", "unknown_protocol", "loose")


@pytest.mark.security
def test_tls_01_a_second_protocol_inside_tls_is_refused(place: Place) -> None:
    place.secure.clear()
    with (
        sockets.connect(place.arcus.port("explicit"), f"origin.test:{place.secure.port}") as tunnel,
        sockets.trusting(place.arcus.ca(), ()).wrap_socket(tunnel, server_hostname="origin.test") as sock,
    ):
        sock.sendall(b"\x00\x01\x02 not http")
        assert sockets.read_all(sock) == b""
    assert not place.secure.requests
    assert place.arcus.event(reason="unknown_protocol", detail="inside TLS")


def test_tls_01_plain_http_in_a_tunnel_is_inspected(place: Place) -> None:
    with sockets.connect(place.arcus.port("explicit"), f"origin.test:{place.plain.port}") as sock:
        sock.sendall(f"GET /in-tunnel HTTP/1.1\r\nHost: origin.test:{place.plain.port}\r\n\r\n".encode())
        assert sockets.read_response(sock)[0] == 200
    event = place.arcus.event(url=f"{place.plain.url}/in-tunnel")
    assert (event["scheme"], event["tunnel"]) == ("http", f"origin.test:{place.plain.port}")


# -- the leaf


def test_tls_02_leaf_is_a_proper_server_certificate(place: Place) -> None:
    leaf = place.leaf("origin.test")
    path = place.directory / "leaf.pem"
    path.write_bytes(leaf.public_bytes(Encoding.PEM))
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "origin.test", "-CAfile"]
    done = subprocess.run([*command, str(place.arcus.ca()), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    extensions = leaf.extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [x509.ExtendedKeyUsageOID.SERVER_AUTH]
    assert "origin.test" in extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    )
    issuer = x509.load_pem_x509_certificate(place.arcus.ca().read_bytes())
    issuer_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == issuer_id
    assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest != issuer_id
    assert leaf.public_key() != issuer.public_key()
    assert leaf.serial_number.bit_length() >= 60
    now = datetime.datetime.now(datetime.UTC)
    assert leaf.not_valid_before_utc <= now - datetime.timedelta(hours=1)
    assert leaf.not_valid_after_utc <= now + datetime.timedelta(days=200)


def test_tls_02_leaf_for_an_address_and_for_a_long_name(place: Place) -> None:
    address = place.leaf("127.0.0.1")
    names = address.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    long = place.leaf(LONG)
    assert LONG in long.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert all(len(str(item.value)) <= 64 for item in long.subject)


def test_tls_04_leaf_is_made_once(place: Place) -> None:
    first = place.leaf("origin.test")
    wait_until(lambda: counter(place.arcus, "arcus_leaf_signed_total") > 0, 10, "the counter is sampled")
    time.sleep(2.2)  # one sampling interval, so that what was signed before is counted before
    signed = counter(place.arcus, "arcus_leaf_signed_total")
    hits = counter(place.arcus, "arcus_leaf_cache_total", "hit")
    assert place.leaf("origin.test").serial_number == first.serial_number
    rises(place.arcus, hits, "arcus_leaf_cache_total", "hit")
    assert counter(place.arcus, "arcus_leaf_signed_total") == signed


def test_tls_07_many_first_connections_share_one_signature(place: Place) -> None:
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        serials = {leaf.serial_number for leaf in pool.map(lambda _: place.leaf("many.test"), range(60))}
    assert len(serials) == 1


def test_tls_01_lazy_connects_when_a_request_is_there(place: Place) -> None:
    place.secure.clear()
    with (
        sockets.connect(place.arcus.port("explicit"), f"origin.test:{place.secure.port}", source="127.0.6.1") as tunnel,
        sockets.tls(tunnel, "origin.test", place.arcus.ca()) as sock,
    ):
        assert not place.secure.accepted
        sock.sendall(f"GET /lazy HTTP/1.1\r\nHost: origin.test:{place.secure.port}\r\n\r\n".encode())
        assert sockets.read_response(sock)[0] == 200
    assert place.secure.accepted == 1


# -- failures


def test_tls_01_failed_client_handshake_ends_with_an_alert(place: Place) -> None:
    """A client that can speak TLS 1.1 only learns why."""
    command = ["openssl", "s_client", "-proxy", f"127.0.0.1:{place.arcus.port('explicit')}", "-connect"]
    command += [f"origin.test:{place.secure.port}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=30, check=False)
    assert re.search(r"alert (protocol version|handshake failure)", done.stderr), done.stderr
    assert place.arcus.event(reason="client_tls_failed")["destination_host"] == "origin.test"


@pytest.mark.security
@pytest.mark.parametrize("strategy", ["eager", "lazy"])
@pytest.mark.parametrize(
    ("case", "word"),
    [
        ("expired", "upstream_cert_expired"),
        ("wrong host", "upstream_cert_wrong_host"),
        ("unknown authority", "upstream_cert_untrusted"),
        ("self-signed", "upstream_cert_self_signed"),
        ("our own authority", "upstream_cert_own_ca"),
    ],
)
def test_tls_01_bad_server_certificates_end_in_a_page_with_the_cause(place: Place, case: str, word: str, strategy: str) -> None:
    """TLS-01. Among the roots is our own CA, as on a machine where it was rolled out: it must not vouch for servers."""
    with origins.origin(context=_bad_context(place, case)) as bad:
        source = "127.0.6.1" if strategy == "lazy" else "127.0.0.1"
        got = place.curl("own.test", "/bad", "--interface", source, "-H", "Accept: text/html", port=bad.port)
        assert got.status == 502, got
        assert word.encode() in got.body
        assert not bad.requests
        event = place.arcus.event(url=f"https://own.test:{bad.port}/bad")
    assert (event["reason"], event["event_type"], event["status"]) == (word, "error", 502)
    assert word in event["server_tls"]["verify"]


def _bad_context(place: Place, case: str) -> ssl.SSLContext:
    trusted = place.trusted
    match case:
        case "expired":
            return trusted.context("own.test", expired=True)
        case "wrong host":
            return trusted.context("elsewhere.test")
        case "unknown authority":
            return origins.authority(place.directory / "nowhere").context("own.test")
        case "self-signed":
            key = ec.generate_private_key(ec.SECP256R1())
            return _context(place, "self", key, None, None)
    key = load_pem_private_key((place.directory / "own.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    own = x509.load_pem_x509_certificate((place.directory / "own.pem").read_bytes())
    return _context(place, "own-leaf", ec.generate_private_key(ec.SECP256R1()), own, key)


def _context(
    place: Place, stem: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate | None, signer: Any
) -> ssl.SSLContext:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "own.test")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(issuer.subject if issuer else name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("own.test")]), critical=False)
    certificate = builder.sign(signer or key, SHA256())
    path = place.directory / f"{stem}.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def test_log_09_every_type_of_event_is_produced(place: Place) -> None:
    """LOG-09: connection, request, response, block, allow and error."""
    port = place.arcus.port("explicit")
    place.curl("origin.test", "/response")
    place.curl("blocked.test", "/block")
    _shown(place, "bank.test")
    place.curl("origin.test", "/error", port=free_port())
    with sockets.connect(port, f"origin.test:{place.secure.port}"):
        pass  # connection: it ends before it asks for anything
    with (
        origins.origin(lambda _: time.sleep(5)) as silent,
        sockets.dial(port) as sock,
    ):
        sock.sendall(f"GET {silent.url}/request HTTP/1.1\r\nHost: origin.test:{silent.port}\r\n\r\n".encode())
        wait_until(lambda: silent.requests, 10, "the request arrived")
    wanted = {"connection", "request", "response", "block", "allow", "error"}
    wait_until(lambda: wanted <= {event["event_type"] for event in place.arcus.events()}, 15, "all types of event")
