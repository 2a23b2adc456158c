"""The forged leaf before other people's verifiers, on its way through a running appliance."""

import contextlib
import datetime
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.e2e.forwarder import forwarder
from tests.e2e.lab import Place, appliance
from tests.tlslab.asking import target
from tests.tlslab.case import LabCase
from tests.tlslab.serving import CONTENT
from tests.tlslab.table import CERTIFICATES

pytestmark = pytest.mark.e2e

SHAPES = (
    "plain", "rsa 2048", "p384", "wildcard", "ip v4", "ip v6", "idn", "no common name", "1000 names", "name of 64 KiB",
)  # fmt: skip
CASES = [case for case in CERTIFICATES if case.name in SHAPES]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with appliance(tmp_path_factory.mktemp("verifiers"), CASES) as made:
        yield made


def name(case: LabCase) -> str:
    return case.host.encode("idna").decode() if case.address == "127.0.0.1" else case.host


def relay(place: Place, case: LabCase) -> contextlib.AbstractContextManager[int]:
    """A port from which a tunnel leads through the appliance to the case's server, for clients that know no proxies."""
    return forwarder(place.arcus.port("explicit"), target(case, place.lab.port(case)))


def talk(command: list[str], case: LabCase) -> str:
    """Run a TLS client, ask for the page through it, and let it go when the content is there."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        assert process.stdin
        assert process.stdout
        with process, contextlib.suppress(BrokenPipeError):
            process.stdin.write(f"GET / HTTP/1.1\r\nHost: {target(case, 443)}\r\nConnection: close\r\n\r\n".encode())
            process.stdin.flush()
            data = b""
            while CONTENT not in data and (piece := os.read(process.stdout.fileno(), 65536)):
                data += piece
        errors.seek(0)
        return (data + errors.read()).decode(errors="replace")


def openssl(place: Place, case: LabCase, *more: str) -> str:
    which = "-verify_hostname" if case.address == "127.0.0.1" else "-verify_ip"
    sni = ["-servername", name(case)] if case.address == "127.0.0.1" else ["-noservername"]
    command = ["openssl", "s_client", "-CAfile", str(place.arcus.ca()), "-x509_strict", "-verify_return_error", "-ign_eof"]
    with relay(place, case) as port:
        return talk([*command, which, name(case), *sni, *more, "-connect", f"127.0.0.1:{port}"], case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_tls_02_openssl_strictly(place: Place, case: LabCase) -> None:
    said = openssl(place, case)
    assert CONTENT.decode() in said
    assert "Verify return code: 0 (ok)" in said


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.skipif(shutil.which("gnutls-cli") is None, reason="gnutls-cli is not installed")
def test_tls_02_gnutls(place: Place, case: LabCase) -> None:
    sni = ["--sni-hostname", name(case)] if case.address == "127.0.0.1" else ["--disable-sni"]
    command = ["gnutls-cli", "--x509cafile", str(place.arcus.ca()), "--verify-hostname", name(case), *sni]
    with relay(place, case) as port:
        said = talk([*command, "--port", str(port), "127.0.0.1"], case)
    assert "The certificate is trusted" in said
    assert CONTENT.decode() in said


@pytest.mark.parametrize("case", CASES, ids=str)
def test_tls_02_curl(place: Place, case: LabCase) -> None:
    answer = place.arcus.curl("--cacert", place.arcus.ca(), f"https://{target(case, place.lab.port(case))}/")
    assert (answer.status, answer.body) == (200, CONTENT), answer.error


@pytest.mark.parametrize(
    ("offer", "kind"),
    [
        (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], rsa.RSAPublicKey),
        (["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"], rsa.RSAPublicKey),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], ec.EllipticCurvePublicKey),
        (["-tls1_3"], ec.EllipticCurvePublicKey),
    ],
    ids=["1.2, RSA only", "1.3, RSA only", "1.2, ECDSA only", "1.3"],
)
def test_tls_02_the_kind_of_key_is_one_that_the_client_can_verify(place: Place, offer: list[str], kind: type) -> None:
    """An old client without ECDSA gets an RSA leaf; all others ECDSA, as the server has it."""
    said = openssl(place, CASES[0], *offer)
    assert CONTENT.decode() in said
    pem = re.search("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", said, re.DOTALL)
    assert pem
    assert isinstance(x509.load_pem_x509_certificate(pem[0].encode()).public_key(), kind)


@pytest.mark.security
def test_tls_02_the_leafs_key_is_never_the_cas_and_each_host_has_its_own_serial(place: Place) -> None:
    """What was found in products (Waked 2018, Durumeric 2017): one key for CA and leaves, small or counted serials."""
    ca = x509.load_pem_x509_certificate(place.arcus.ca().read_bytes())
    distinct = list({case.host: case for case in CASES}.values())
    leaves = [leaf for case in distinct if (leaf := place.ask(case).leaf) is not None]
    assert len({leaf.serial_number for leaf in leaves}) == len(distinct) > 4
    for leaf in leaves:
        assert leaf.public_key() != ca.public_key()
        assert leaf.serial_number.bit_length() > 64
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= datetime.timedelta(days=200)
        assert datetime.timedelta(hours=1) <= datetime.datetime.now(datetime.UTC) - leaf.not_valid_before_utc
        assert datetime.datetime.now(datetime.UTC) - leaf.not_valid_before_utc <= datetime.timedelta(hours=73)
        assert leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert leaf.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
