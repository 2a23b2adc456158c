import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from certs import export


def test_pem_and_der_hold_the_certificate(authority):
    assert x509.load_pem_x509_certificate(export.pem(authority)) == authority.certificate
    assert x509.load_der_x509_certificate(export.der(authority)) == authority.certificate


def test_pkcs12_holds_the_certificate_under_its_name_and_no_key(authority):
    store = load_pkcs12(export.p12(authority), None)
    assert store.key is None
    assert store.cert is None
    (entry,) = store.additional_certs
    assert (entry.certificate, entry.friendly_name) == (authority.certificate, b"main")


def test_openssl_reads_the_pkcs12(authority, tmp_path):
    file = tmp_path / "ca.p12"
    file.write_bytes(export.p12(authority))
    command = ["openssl", "pkcs12", "-in", str(file), "-nokeys", "-passin", "pass:"]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert b"BEGIN CERTIFICATE" in done.stdout, done.stderr


def test_fingerprints_are_openssls(authority, tmp_path):
    file = tmp_path / "ca.pem"
    file.write_bytes(export.pem(authority))
    for name, value in export.fingerprints(authority).items():
        command = ["openssl", "x509", "-in", str(file), "-noout", "-fingerprint", f"-{name}"]
        assert (
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip().endswith(f"={value}")
        )


@pytest.mark.security
def test_no_export_holds_the_key(authority):
    raw = authority.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    secret = authority.key.private_numbers().private_value.to_bytes(32)
    for data in (export.pem(authority), export.der(authority), export.p12(authority)):
        assert secret not in data
        assert raw not in data
        assert b"PRIVATE" not in data


def test_the_public_half_is_enough(authority):
    for make in (export.pem, export.der, export.fingerprints):
        assert make(authority.public) == make(authority)
