"""Our client and our server over unix sockets and TLS: who is let in, and whom we believe."""

import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from appliance.app.icap_tls import of_listener
from appliance.config.icap_listen import IcapTlsListen
from appliance.domain.verdict import Outcome
from icap.client import IcapService
from icap.client.address import ServiceAddress
from icap.client.tls import client_context
from icap.server.adapt import standard_services
from icap.server.server import IcapServer
from icap.server.settings import ServerSettings
from tests.icap.client.messages import download, told
from tests.icap.server.serving import WholeBodyScanner

pytestmark = pytest.mark.integration
CLEAN, UNREACHABLE = (Outcome.CLEAN, "ok"), (Outcome.ERROR, "icap_unreachable")


@contextlib.asynccontextmanager
async def server(sock: socket.socket, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    found = IcapServer(standard_services(WholeBodyScanner(needle=b"bad"), ServerSettings()))
    await found.start([sock], tls)
    try:
        yield
    finally:
        await found.stop(1.0)


class Certificates:
    """A CA's files, and those of certificates from it."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.directory = directory
        self.ca = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)

    def pair(self, name: str) -> tuple[Path, Path]:
        leaf = self.authority.issue_cert(name)
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}-key.pem"
        leaf.private_key_pem.write_to_path(key)
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        return certificate, key


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def listener(certificates: Certificates, name: str = "localhost", client_ca: Path | None = None) -> ssl.SSLContext:
    certificate, key = certificates.pair(name)
    listen = {"address": "127.0.0.1:0"}
    return of_listener(
        IcapTlsListen.model_validate({"listen": listen, "certificate": certificate, "private_key": key, "client_ca": client_ca})
    )


async def asked(uri: str, tls: ssl.SSLContext | None = None) -> tuple[Outcome, str]:
    service = IcapService(uri, tls=tls, connect_timeout=5)
    try:
        bodies = (b"x", os.urandom(300_000), None)
        answers = {told(await service.adapt(download(body))) for body in bodies}
    finally:
        await service.close()
    (answer,) = answers
    assert service.stats.connects == 1 or answer != CLEAN
    return answer


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "icap.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        async with server(sock):
            assert await asked(f"icap+unix://{path}:/respmod") == CLEAN
            service = IcapService(f"icap+unix://{path}:/respmod")
            assert told(await service.adapt(download(b"bad"))) == (Outcome.BLOCKED, "malware_found")
            assert str(service.address) == f"icap+unix://{path}:/respmod"
            await service.close()
    assert await asked(f"icap+unix://{path}:/respmod") == UNREACHABLE  # its file is there, nobody listens
    assert await asked(f"icap+unix://{path}.none:/respmod") == UNREACHABLE


async def test_icap_c45_chain_and_name_are_verified(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        async with server(sock, listener(certificates)):
            ours = client_context(certificates.ca)
            assert await asked(f"icaps://localhost:{port}/respmod", ours) == CLEAN
            assert await asked(f"icaps://127.0.0.1:{port}/respmod", ours) == UNREACHABLE  # not the name in the certificate
            assert await asked(f"icaps://localhost:{port}/respmod") == UNREACHABLE  # not an authority of the system
            assert await asked(f"icap://localhost:{port}/respmod") == (Outcome.ERROR, "icap_error")


async def test_icap_c45_only_clients_with_a_certificate(certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Certificates(tmp_path / "other")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        uri = f"icaps://localhost:{sock.getsockname()[1]}/respmod"
        async with server(sock, listener(certificates, client_ca=certificates.ca)):
            certificate, key = certificates.pair("proxy")
            known = client_context(certificates.ca, certificate, key)
            stranger = client_context(certificates.ca, *other.pair("proxy"))
            assert await asked(uri, known) == CLEAN
            for context in (stranger, client_context(certificates.ca)):
                assert (await asked(uri, context))[0] is Outcome.ERROR


@pytest.mark.parametrize(
    ("uri", "path", "service"),
    [
        ("icap+unix:///run/a.sock:/respmod", "/run/a.sock", "/respmod"),
        ("icap+unix:///run/a/b c.sock:/x", None, None),
        ("icap+unix:///s:/x/y?z=1", "/s", "/x/y?z=1"),
        ("icap+unix:///s:/x:/y", "/s", "/x:/y"),
        ("icap+unix:///s", None, None),
        ("icap+unix://s:/x", None, None),
        ("icap+unix:///:/x", None, None),
        ("icap+unix:///s:/x#f", None, None),
        ("icap+unix:///s:/", None, None),
    ],
)
def test_uris_of_unix_sockets(uri: str, path: str | None, service: str | None) -> None:
    from appliance.config.values import check_icap_uri

    if path is None:
        with pytest.raises(ValueError, match="ICAP URI"):
            ServiceAddress.parse(uri)
        with pytest.raises(ValueError, match="not "):
            check_icap_uri(uri)
        return
    address = ServiceAddress.parse(check_icap_uri(uri))
    assert (str(address.socket), address.path, str(address)) == (path, service, uri)
    assert address.uri == f"icap://localhost:1344{service}"
