"""CRL and OCSP of a running appliance, asked by openssl and curl; C12."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID as AIA

from tests.e2e import sockets
from tests.e2e.running import ROOT, Running, base_config, running, wait_until
from tests.e2e.webserver import WebServer, webserver

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.xdist_group("e2e-revocation")]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with webserver(tmp_path_factory.mktemp("web"), names=("origin.test",)) as server:
        yield server


@pytest.fixture(scope="module", params=["process", "in_process"])
def arcus(request, tmp_path_factory: pytest.TempPathFactory, web: WebServer) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("arcus")
    auditor = {"name": "inspect", "tls_interception": {"upstream_trust": {"ca_files": [str(web.ca_file)]}}}
    resolver = {"name": "local", "type": "system", "hosts": {"origin.test": ["127.0.0.1"]}}
    ca = {"name": "default", "revocation_url": "http://arcus.internal", "signer": request.param}
    with running(base_config(place / "state", auditor=[auditor], resolver=[resolver], ca=[ca]), place) as appliance:
        yield appliance


@pytest.fixture
def leaf(arcus: Running, web: WebServer, tmp_path: Path) -> x509.Certificate:
    found = served(arcus, web)
    (tmp_path / "leaf.pem").write_bytes(found.public_bytes(Encoding.PEM))
    return found


def served(arcus: Running, web: WebServer) -> x509.Certificate:
    """The leaf that the next connection is shown."""
    with (
        sockets.connect(arcus.port("explicit"), f"origin.test:{web.tls_port}") as tunnel,
        sockets.tls(tunnel, "origin.test", arcus.ca()) as sock,
    ):
        return x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")


def openssl(*words: object) -> str:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, timeout=30, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")


def addresses(leaf: x509.Certificate) -> dict[str, str]:
    access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    found = {each.access_method: each.access_location.value for each in access}
    [point] = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    return {"ocsp": found[AIA.OCSP], "issuer": found[AIA.CA_ISSUERS], "crl": point.full_name[0].value}


def ocsp(arcus: Running, leaf: x509.Certificate, tmp_path: Path) -> str:
    path = urlsplit(addresses(leaf)["ocsp"]).path
    common = ("-issuer", arcus.ca(), "-cert", tmp_path / "leaf.pem", "-CAfile", arcus.ca(), "-nonce")
    return openssl("ocsp", *common, "-url", f"http://127.0.0.1:{arcus.admin_port}{path}")


def test_a_leaf_is_good_until_it_is_revoked(arcus: Running, leaf: x509.Certificate, tmp_path: Path) -> None:
    where = addresses(leaf)
    assert all(url.startswith("http://arcus.internal/pki/") for url in where.values())
    wait_until(lambda: "leaf.pem: good" in ocsp(arcus, leaf, tmp_path))
    said = ocsp(arcus, leaf, tmp_path)
    assert "Response verify OK" in said
    assert "WARNING: no nonce" not in said
    # through the proxy, as a client that reaches nothing else
    assert arcus.curl(where["issuer"]).body == x509.load_pem_x509_certificate(arcus.ca().read_bytes()).public_bytes(
        Encoding.DER
    )
    before = arcus.curl(where["crl"])
    assert dict(before.headers)["content-type"] == "application/pkix-crl"
    assert x509.load_der_x509_crl(before.body).get_revoked_certificate_by_serial_number(leaf.serial_number) is None
    revoke(arcus, f"{leaf.serial_number:x}")
    assert "leaf.pem: revoked" in ocsp(arcus, leaf, tmp_path)
    wait_until(lambda: revoked_in(arcus.curl(where["crl"]).body, leaf), what="the CRL is signed anew")
    (tmp_path / "crl.pem").write_bytes(x509.load_der_x509_crl(arcus.curl(where["crl"]).body).public_bytes(Encoding.PEM))
    checked = openssl("verify", "-crl_check", "-CAfile", arcus.ca(), "-CRLfile", tmp_path / "crl.pem", tmp_path / "leaf.pem")
    assert "certificate revoked" in checked


@pytest.mark.security
def test_c12_after_a_revocation_no_worker_serves_the_leaf_any_more(
    arcus: Running, web: WebServer, leaf: x509.Certificate
) -> None:
    revoke(arcus, f"{leaf.serial_number:x}")
    wait_until(lambda: served(arcus, web).serial_number != leaf.serial_number, what="another leaf")
    again = {served(arcus, web).serial_number for _ in range(20)}
    assert leaf.serial_number not in again
    assert served(arcus, web).public_key() != leaf.public_key()


def revoke(arcus: Running, serial: str) -> None:
    command = [sys.executable, "-m", "appliance.cli", "ca", "revoke", "-c", str(arcus.state.parent / "arcus.yaml")]
    command += ["--tenant", "default", "--serial", serial]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def revoked_in(crl: bytes, leaf: x509.Certificate) -> bool:
    return x509.load_der_x509_crl(crl).get_revoked_certificate_by_serial_number(leaf.serial_number) is not None


@pytest.mark.security
def test_nothing_else_of_the_folder_is_handed_out(arcus: Running, leaf: x509.Certificate) -> None:
    home = addresses(leaf)["issuer"].rpartition("/")[0]
    for name in ("responder.pem", "revoked.json", ".lock", "../../ca/default/ca.key", "%2e%2e/%2e%2e/ca/default/ca.key"):
        for via, base in (("explicit", home), (None, f"http://127.0.0.1:{arcus.admin_port}{urlsplit(home).path}")):
            answer = arcus.curl("--path-as-is", f"{base}/{name}", via=via)
            assert answer.status in (303, 401, 404), (name, answer.status)
            assert b"PRIVATE" not in answer.body
