import ipaddress

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.describe import MAX_NAMES, MAX_TEXT, describe, printable
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import LEAF


def test_what_an_analyst_looks_up():
    names = [x509.DNSName("origin.test"), x509.DNSName("*.origin.test"), x509.IPAddress(ipaddress.ip_address("192.0.2.1"))]
    pair = forge.issue(LEAF.but(names=names, serial=0xABCDEF), forge.world().root)
    notes = describe(pair.certificate)
    assert (notes.subject, notes.issuer, notes.serial) == ("CN=origin.test", "CN=Trusted Root", "abcdef")
    assert notes.names == ("origin.test", "*.origin.test", "192.0.2.1")
    assert (notes.not_before, notes.not_after) == (LEAF.start.timestamp(), LEAF.end.timestamp())
    assert notes.sha256 == pair.certificate.fingerprint(forge.SHA256()).hex()


def test_control_characters_do_not_reach_the_record():
    pair = forge.issue(LEAF.but(common_name="a\r\nX: \x1b[31m\0", names=[x509.DNSName("a\r\n\0.test")]), None)
    notes = describe(pair.certificate)
    assert all(text.isprintable() for text in (notes.subject, notes.issuer, *notes.names))
    assert notes.names == ("a\\x0d\\x0a\\x00.test",)


def test_the_size_of_a_record_is_bounded():
    huge = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "x" * 60_000, _validate=False)])
    builder = x509.CertificateBuilder().subject_name(huge).issuer_name(huge).public_key(forge.ec_key().public_key())
    builder = builder.serial_number(1).not_valid_before(LEAF.start).not_valid_after(LEAF.end)
    names = [x509.DNSName(f"n{i}.test") for i in range(1000)]
    notes = describe(builder.add_extension(x509.SubjectAlternativeName(names), False).sign(forge.ec_key(), forge.SHA256()))
    assert len(notes.subject) == len(notes.issuer) == MAX_TEXT
    assert len(notes.names) == MAX_NAMES


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_malformed_certificates_are_described_as_far_as_they_go():
    root = forge.world().root
    leaf = forge.issue(LEAF, root)
    assert describe(forge.with_extension_twice(leaf, root).certificate).names == ()
    assert describe(forge.with_serial(leaf, root, b"\xff\x01").certificate).serial == "-ff"
    assert describe(forge.as_version_1(leaf, root).certificate).names == ()


@settings(deadline=None)
@given(st.text(max_size=2000))
def test_printable_text_is_printable_and_short(text):
    assert printable(text).isprintable()
    assert len(printable(text)) <= MAX_TEXT
    assert not text.isprintable() or printable(text) == text[:MAX_TEXT]
