import ipaddress
import subprocess
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock, SystemClock
from appliance.domain.errors import InternalError
from certs.authority import Authority
from certs.leaf import HOUR, MAX_BACKDATE, MIN_BACKDATE, sign_leaf, validity
from certs.mint import new_ecdsa_key, new_rsa_key, random_serial
from certs.profile import LeafProfile
from tests.certs import forge_origin as forge
from tests.certs.cases import pem
from tests.certs.forge_origin import CA, NOW

DAY = 24 * HOUR
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
HOST = st.lists(LABEL, min_size=1, max_size=5).map(lambda labels: ".".join([*labels, "test"]))


def make(authority: Authority, profile: LeafProfile, clock=None, serial: int | None = None, days: int = 47) -> x509.Certificate:
    key = new_ecdsa_key() if profile.ecdsa else new_rsa_key()
    return sign_leaf(authority, profile, key, clock or SystemClock(), serial or random_serial(), days)


def openssl_verify(directory, authority: Authority, leaf: x509.Certificate, *options: str) -> str:
    ca, file = directory / "ca.pem", directory / "leaf.pem"
    ca.write_bytes(authority.certificate.public_bytes(forge.Encoding.PEM))
    file.write_bytes(leaf.public_bytes(forge.Encoding.PEM))
    command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-auth_level",
        "2",
        *options,
        "-CAfile",
        str(ca),
        str(file),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("ecdsa", [True, False], ids=["ecdsa", "rsa"])
@pytest.mark.parametrize("ca", ["authority", "rsa_authority"])
@pytest.mark.parametrize(
    ("host", "option"),
    [
        ("www.example.com", "-verify_hostname"),
        ("bücher.example", "-verify_hostname"),
        (".".join(["a" * 30] * 3) + ".example", "-verify_hostname"),
        ("192.0.2.7", "-verify_ip"),
        ("2001:db8::7", "-verify_ip"),
    ],
)
def test_tls_02_openssl_accepts_the_leaf_in_its_strictest_mode(tmp_path, request, ca, ecdsa, host, option):
    authority = request.getfixturevalue(ca)
    profile = LeafProfile.for_host(host, ecdsa=ecdsa)
    said = openssl_verify(tmp_path, authority, make(authority, profile), option, profile.names[0])
    assert said.endswith("leaf.pem: OK\n"), said


def test_tls_02_openssl_refuses_the_leaf_for_another_name(tmp_path, authority):
    said = openssl_verify(tmp_path, authority, make(authority, LeafProfile.for_host("a.test")), "-verify_hostname", "b.test")
    assert "mismatch" in said


def test_tls_02_the_leaf_says_what_it_is_for(authority):
    leaf = make(authority, LeafProfile.for_host("www.example.com"))
    assert leaf.subject.rfc4514_string() == "CN=www.example.com"
    assert leaf.issuer == authority.certificate.subject
    assert leaf.signature_hash_algorithm.name == "sha256"
    found = {type(each.value): each for each in leaf.extensions}
    basic, usage = found[x509.BasicConstraints], found[x509.KeyUsage]
    assert (basic.critical, basic.value.ca) == (True, False)
    assert (usage.critical, usage.value) == (True, forge.key_usage(digital_signature=True))
    assert list(found[x509.ExtendedKeyUsage].value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    issuer_identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert found[x509.AuthorityKeyIdentifier].value.key_identifier == issuer_identifier.digest
    assert found[x509.SubjectKeyIdentifier].value.digest != issuer_identifier.digest
    assert found[x509.SubjectAlternativeName].critical is False


def test_tls_02_a_name_of_64_characters_is_a_common_name_and_one_of_65_is_not(authority):
    for length, expected in ((64, 1), (65, 0)):
        host = "a" * 50 + "." + "b" * (length - 51 - 5) + ".test"
        assert len(host) == length
        leaf = make(authority, LeafProfile.for_host(host))
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert len(list(leaf.subject)) == expected
        assert names.critical is (expected == 0)
        assert names.value.get_values_for_type(x509.DNSName) == [host]


def test_tls_02_an_address_is_certified_as_an_address(authority):
    names = make(authority, LeafProfile(("192.0.2.7", "2001:db8::7", "*.example.com"))).extensions
    value = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert value.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("192.0.2.7"), ipaddress.ip_address("2001:db8::7")]
    assert value.get_values_for_type(x509.DNSName) == ["*.example.com"]


def test_tls_03_leaf_keys_are_never_the_authoritys(authority, rsa_authority):
    for ca in (authority, rsa_authority):
        for ecdsa in (True, False):
            leaf = make(ca, LeafProfile.for_host("a.test", ecdsa=ecdsa))
            assert leaf.public_key() != ca.certificate.public_key()
            assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey) is ecdsa
            assert leaf.public_key().key_size == (256 if ecdsa else 2048)


def test_tls_02_serials_are_random_positive_and_short_enough():
    serials = {random_serial() for _ in range(2000)}
    assert len(serials) == 2000
    assert {serial.bit_length() for serial in serials} == {127}
    low = [serial & (1 << 64) - 1 for serial in serials]
    assert len(set(low)) == 2000


@settings(deadline=None)
@given(host=HOST)
def test_every_host_name_makes_a_leaf_for_exactly_that_name(host):
    profile = LeafProfile.for_host(host)
    leaf = make(_AUTHORITY, profile, ManualClock(NOW.timestamp()))
    value = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert value.get_values_for_type(x509.DNSName) == [host]


@settings(deadline=None)
@given(text=st.text(max_size=80))
def test_what_is_no_host_name_makes_no_leaf(text):
    try:
        profile = LeafProfile.for_host(text)
    except ValueError:
        return
    assert profile.names[0].isascii()
    assert make(_AUTHORITY, profile, ManualClock(NOW.timestamp())).serial_number


@settings(deadline=None)
@given(address=st.ip_addresses())
def test_every_address_makes_a_leaf_for_an_address(address):
    profile = LeafProfile.for_host(str(address))
    leaf = make(_AUTHORITY, profile, ManualClock(NOW.timestamp()))
    (value,) = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.IPAddress)
    assert str(value) == profile.names[0]


@settings(deadline=None)
@given(serial=st.integers(1, (1 << 159) - 1), days=st.integers(1, 200), bound=st.none() | st.integers(1, 300 * DAY))
def test_tls_02_validity_is_bounded_and_backdated(serial, days, bound):
    now = NOW.timestamp()
    profile = LeafProfile(("a.test",), not_after=None if bound is None else now + bound)
    start, end = (each.timestamp() for each in validity(_AUTHORITY, profile, ManualClock(now), serial, days))
    assert MIN_BACKDATE <= now - start <= MAX_BACKDATE
    assert now < end <= start + days * DAY
    assert end <= _AUTHORITY.certificate.not_valid_after_utc.timestamp()
    assert bound is None or end <= now + bound


def test_backdating_differs_from_leaf_to_leaf():
    clock = ManualClock(NOW.timestamp())
    starts = {validity(_AUTHORITY, LeafProfile(("a.test",)), clock, serial, 47)[0] for serial in range(1, 50)}
    assert len(starts) > 40


def authority_until(seconds: float) -> Authority:
    end = datetime.fromtimestamp(NOW.timestamp() + seconds, UTC)
    pair = forge.issue(CA.but(end=end), None)
    return Authority("short", pair.certificate, (), pair.key)


def test_tls_02_a_leaf_ends_with_its_authority():
    authority = authority_until(3 * DAY)
    leaf = make(authority, LeafProfile.for_host("a.test"), ManualClock(NOW.timestamp()))
    assert leaf.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_an_expired_authority_signs_nothing():
    authority, clock = authority_until(60), ManualClock(NOW.timestamp())
    assert make(authority, LeafProfile.for_host("a.test"), clock)
    clock.advance(60)
    with pytest.raises(InternalError, match="would have expired"):
        make(authority, LeafProfile.for_host("a.test"), clock)


def test_a_leaf_does_not_start_before_its_authority():
    pair = forge.issue(CA.but(start=NOW), None)
    authority = Authority("young", pair.certificate, (), pair.key)
    leaf = make(authority, LeafProfile.for_host("a.test"), ManualClock(NOW.timestamp()))
    assert leaf.not_valid_before_utc == NOW


def test_an_authority_without_a_key_identifier_can_sign():
    template = CA.but(common_name="Bare")
    key = template.key
    name = forge.subject("Bare")
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(5)
    builder = builder.not_valid_before(template.start).not_valid_after(template.end)
    bare = builder.add_extension(x509.BasicConstraints(True, None), True).sign(key, forge.SHA256())
    leaf = make(Authority("bare", bare, (), key), LeafProfile.for_host("a.test"), ManualClock(NOW.timestamp()))
    identifier = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert identifier.key_identifier == x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest


def test_a_leaf_below_an_intermediate_verifies_with_its_chain(tmp_path):
    world = forge.world()
    authority = Authority("sub", world.intermediate.certificate, (world.root.certificate,), world.intermediate.key)
    leaf = make(authority, LeafProfile.for_host("a.test"), ManualClock(NOW.timestamp()))
    files = {"root": pem(world.root), "chain": pem(world.intermediate), "leaf": leaf.public_bytes(forge.Encoding.PEM)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    command = ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW.timestamp())), "-CAfile", str(tmp_path / "root")]
    done = subprocess.run(
        [*command, "-untrusted", str(tmp_path / "chain"), str(tmp_path / "leaf")], capture_output=True, text=True
    )
    assert done.stdout.endswith("OK\n"), done.stderr


def test_a_profile_without_a_name_is_refused():
    with pytest.raises(ValueError):
        LeafProfile(())


_AUTHORITY = authority_until(1000 * DAY)
