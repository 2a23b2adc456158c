"""T2, TLS-04: two tenants with one CA, two workers, the signer and Redis: what was made for one is never shown to the other."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.e2e.running import Running, base_config, running
from tests.e2e.webserver import WebServer, webserver
from tests.redis_server import RedisProcess, redis_server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.security,
    pytest.mark.integration,
    pytest.mark.xdist_group("e2e-leaves-by-tenant"),
]
OURS, GUESTS = "127.0.0.1", "127.0.9.1"
RSA_ONLY = "ECDHE-RSA-AES128-GCM-SHA256"
CONNECTIONS = 8
"""Enough to meet both workers."""


@dataclass
class Place:
    arcus: Running
    web: WebServer
    redis: RedisProcess

    def context(self, ciphers: str = "") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.arcus.ca()))
        if ciphers:  # the kind of the leaf's key follows what the client can verify
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers)
        return context

    def visit(self, source: str, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        """A request on a connection of its own; what is known of it afterwards."""
        origin = self.web.tls_url.removeprefix("https://")
        plain = socket.create_connection(("127.0.0.1", self.arcus.port("explicit")), 20, (source, 0))
        plain.sendall(f"CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n".encode())
        assert b" 200 " in plain.recv(4096)
        secured = context.wrap_socket(plain, server_hostname=origin.rpartition(":")[0], session=session)
        secured.sendall(f"GET /hello HTTP/1.1\r\nHost: {origin}\r\nConnection: close\r\n\r\n".encode())
        while secured.recv(65536):
            pass
        return secured

    def shown(self, source: str, ciphers: str) -> tuple[set[int], set[bytes]]:
        """Serials and public keys of the leaves that a tenant's clients meet."""
        serials, keys = set(), set()
        for _ in range(CONNECTIONS):
            with self.visit(source, self.context(ciphers)) as sock:
                leaf = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")
            serials.add(leaf.serial_number)
            keys.add(leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        return serials, keys


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("tenants")
    common = {"ca": "default", "auditor": "inspect", "escaper": "direct"}
    tenants = [{"tenant_id": "default"} | common, {"tenant_id": "guests", "match": {"networks": [f"{GUESTS}/32"]}} | common]
    with redis_server(folder) as redis, webserver(tmp_path_factory.mktemp("web")) as web:
        trusting = {"name": "inspect", "tls_interception": {"upstream_trust": {"ca_files": [str(web.ca_file)]}}}
        config = base_config(
            folder / "state", workers=2, auditor=[trusting], tenant=tenants, redis={"url": redis.url, "timeout": "500ms"}
        )
        with running(config, folder) as arcus:
            yield Place(arcus, web, redis)


@pytest.mark.parametrize("ciphers", ["", RSA_ONLY], ids=["ecdsa", "rsa"])
def test_t2_each_tenant_has_its_own_leaf_and_key_although_the_ca_is_one(place: Place, ciphers: str) -> None:
    serials, keys = place.shown(OURS, ciphers)
    others, other_keys = place.shown(GUESTS, ciphers)
    assert (len(serials), len(others)) == (1, 1), "signed once for each tenant, for all workers"
    assert not serials & others
    assert not keys & other_keys


def test_t2_a_ticket_of_one_tenant_is_worth_nothing_to_the_other(place: Place) -> None:
    context = place.context()
    with place.visit(OURS, context) as first:
        session = first.session
    with place.visit(GUESTS, context, session) as foreign:
        assert not foreign.session_reused
    with place.visit(OURS, context, session) as own:
        assert own.session_reused


def test_t2_what_is_in_redis_is_apart(place: Place) -> None:
    for source in (OURS, GUESTS):
        with place.visit(source, place.context()):
            pass
    everything = place.redis.everything()
    assert b"cert:cache:default:" in everything
    assert b"cert:cache:guests:" in everything
    assert b"+guests" not in everything
