"""Forged leaves of every shape, before verifiers that share no code: OpenSSL at its strictest, GnuTLS and NSS."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.domain.clock import SystemClock
from certs.authority import Authority
from certs.cache import LeafCache
from certs.leaf import sign_leaf
from certs.mimic import mimic
from certs.mint import new_ecdsa_key, random_serial
from certs.profile import MAX_NAMES, LeafProfile
from certs.publication import Publication
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import LEAF
from tests.certs.tls_server import serving

pytestmark = pytest.mark.integration

LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
AT_64, AT_65 = "a" * 59 + ".test", "a" * 60 + ".test"
PUBLICATION = Publication("http://pki.test/a.crl", "http://pki.test/ocsp", "http://pki.test/a.cer")


@dataclass(frozen=True)
class Shape:
    """A host that a client asks for, and the names of the certificate that its server has."""

    host: str
    names: tuple[str, ...]
    common_name: str | None = None


SHAPES = {
    "plain": Shape("www.origin.test", ("origin.test", "www.origin.test"), "origin.test"),
    "wildcard": Shape("www.origin.test", ("*.origin.test",), "*.origin.test"),
    "ipv4": Shape("192.0.2.7", ("192.0.2.7", "origin.test"), "192.0.2.7"),
    "ipv6": Shape("2001:db8::7", ("2001:db8::7",)),
    "253 octets": Shape(LONGEST, (LONGEST,)),
    "64 characters": Shape(AT_64, (AT_64,), AT_64),
    "65 characters": Shape(AT_65, (AT_65,)),
    "idn": Shape("xn--bcher-kva.test", ("xn--bcher-kva.test", "*.xn--bcher-kva.test"), "xn--bcher-kva.test"),
    "1,000 names": Shape("n777.test", tuple(f"n{number}.test" for number in range(1000)), "n0.test"),
    "not covered": Shape("other.test", ("origin.test",), "origin.test"),
}


def general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def origin_of(shape: Shape) -> x509.Certificate:
    now = datetime.now(UTC).replace(microsecond=0)
    template = LEAF.but(names=tuple(map(general, shape.names)), start=now - timedelta(days=1), end=now + timedelta(days=30))
    return forge.issue(template.but(common_name=shape.common_name), None).certificate


def profile_of(shape: Shape) -> LeafProfile:
    return mimic(shape.host, origin_of(shape), SystemClock().now())


@dataclass(frozen=True)
class Files:
    """The CA's certificate and a leaf, as PEM."""

    ca: Path
    leaf: Path


@pytest.fixture
def written(authority: Authority, tmp_path: Path):
    def write(profile: LeafProfile) -> Files:
        leaf = sign_leaf(authority, profile, new_ecdsa_key(), SystemClock(), random_serial(), publication=PUBLICATION)
        files = Files(tmp_path / "ca.pem", tmp_path / "leaf.pem")
        files.ca.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
        files.leaf.write_bytes(leaf.public_bytes(Encoding.PEM))
        return files

    return write


def run(*command: object) -> tuple[int, str]:
    done = subprocess.run(
        [str(each) for each in command], capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@each_shape
def test_tls_02_openssl_at_its_strictest(written, shape: Shape) -> None:
    """C12."""
    files = written(profile_of(shape))
    option = "-verify_ip" if ":" in shape.host or shape.host[0].isdigit() else "-verify_hostname"
    strict = ("-x509_strict", "-purpose", "sslserver", "-auth_level", "2", option, shape.host)
    code, said = run("openssl", "verify", *strict, "-CAfile", files.ca, files.leaf)
    assert code == 0, said


@each_shape
def test_tls_02_gnutls(written, shape: Shape) -> None:
    """C12."""
    files = written(profile_of(shape))
    command = ("certtool", "--verify", "--verify-profile", "medium", "--load-ca-certificate", files.ca, "--infile", files.leaf)
    # certtool compares host names; an address given to it is compared with dNSName entries alone
    named = () if ":" in shape.host or shape.host[0].isdigit() else ("--verify-hostname", shape.host)
    code, said = run(*command, *named)
    assert code == 0, said
    assert "The certificate is trusted." in said


@each_shape
def test_tls_02_nss(written, tmp_path: Path, shape: Shape) -> None:
    """C12: what Firefox and chromium on Linux verify with."""
    files = written(profile_of(shape))
    store = f"sql:{tmp_path}"
    assert run("certutil", "-N", "-d", store, "--empty-password") == (0, "")
    assert run("certutil", "-A", "-d", store, "-n", "ca", "-t", "C,,", "-i", files.ca)[0] == 0
    code, said = run("vfychain", "-d", store, "-pp", "-u", "1", "-a", files.leaf)
    assert (code, "Chain is good!" in said) == (0, True), said


def test_tls_02_a_subject_with_place_and_organisation_verifies(written) -> None:
    """C12."""
    subject = (("C", "DE"), ("ST", "Baden"), ("L", "Köln"), ("O", "Bücher & Söhne, Inc."))
    files = written(LeafProfile(("a.test",), "a.test", subject=subject))
    assert run("openssl", "verify", "-x509_strict", "-CAfile", files.ca, files.leaf)[0] == 0
    assert run("certtool", "--verify", "--load-ca-certificate", files.ca, "--infile", files.leaf)[0] == 0
    _, said = run("openssl", "x509", "-in", files.leaf, "-noout", "-subject", "-nameopt", "RFC2253,utf8,-esc_msb")
    assert said.strip() == "subject=CN=a.test,O=Bücher & Söhne\\, Inc.,L=Köln,ST=Baden,C=DE"


async def test_tls_01_gnutls_accepts_the_leaf_of_a_live_listener(authority: Authority, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    for ecdsa in (True, False):
        leaf = await LeafCache(authority, 10, 3600).get(LeafProfile(("localhost", "127.0.0.1"), "localhost", ecdsa))
        with serving(leaf.context) as port:
            code, said = run("gnutls-cli", "--x509cafile", ca,
                             "--port", port, "localhost")  # fmt: skip
        assert "Status: The certificate is trusted." in said, said
        assert code == 0, said


def test_1000_names_of_the_server_are_not_all_carried() -> None:
    shape = SHAPES["1,000 names"]
    assert len(profile_of(shape).names) == MAX_NAMES
    assert shape.host in profile_of(shape).names
