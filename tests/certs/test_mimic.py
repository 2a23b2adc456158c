import ipaddress
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as EKU
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from certs.authority import Authority
from certs.leaf import sign_leaf
from certs.mimic import alternative_names, mimic
from certs.profile import MAX_NAMES, MAX_NAMES_BYTES, LeafProfile
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import LEAF, NOW

SOON = NOW.timestamp()


def origin(*names: x509.GeneralName, **changes: object) -> x509.Certificate:
    return forge.issue(LEAF.but(names=names or LEAF.names, **changes), forge.world().root).certificate


def dns(*names: str, **changes: object) -> x509.Certificate:
    return origin(*map(x509.DNSName, names), **changes)


def test_tls_02_names_common_name_and_end_of_life_come_from_the_server():
    profile = mimic("www.origin.test", dns("origin.test", "*.origin.test"), SOON)
    end = int((NOW + timedelta(days=80)).timestamp())
    assert profile == LeafProfile(("origin.test", "*.origin.test"), "origin.test", True, end)


def test_hosts_that_the_server_s_names_cover_share_its_leaf_and_others_come_first():
    certificate = dns("*.origin.test", common_name="*.origin.test")
    assert mimic("a.origin.test", certificate, SOON) == mimic("B.origin.test.", certificate, SOON)
    for uncovered in ("a.b.origin.test", "origin.test", "192.0.2.1"):
        assert mimic(uncovered, certificate, SOON).names == (uncovered, "*.origin.test")


def test_an_address_is_not_covered_by_a_wildcard():
    assert mimic("2.0.2.1", dns("*.0.2.1", "origin.test"), SOON).names == ("2.0.2.1", "origin.test")


def test_tls_03_the_kind_of_key_is_the_server_s_where_the_client_accepts_it():
    """C12."""
    rsa, ec = dns("origin.test", key=forge.rsa_key(2048)), dns("origin.test")
    accepted = [(True, True), (True, False), (False, True)]
    assert [mimic("origin.test", rsa, SOON, ecdsa=e, rsa=r).ecdsa for e, r in accepted] == [False, True, False]
    assert [mimic("origin.test", ec, SOON, ecdsa=e, rsa=r).ecdsa for e, r in accepted] == [True, True, False]


def named(*attributes: tuple[NameOID, str], **changes: object) -> x509.Certificate:
    """The leaf of the trusted root with another subject."""
    key = forge.ec_key()
    builder = x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(*each) for each in attributes]))
    builder = builder.issuer_name(forge.subject("Root")).public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(LEAF.start).not_valid_after(LEAF.end)
    builder = builder.add_extension(x509.SubjectAlternativeName(LEAF.names), critical=False)
    return builder.sign(key, forge.SHA256())


def test_organisation_and_place_come_from_the_server_and_units_do_not():
    """C12."""
    oids = (NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME, NameOID.COUNTRY_NAME, NameOID.LOCALITY_NAME)
    certificate = named(*zip(oids, ("Unit", "Bücher GmbH", "DE", "Köln"), strict=True), (NameOID.EMAIL_ADDRESS, "a@b.test"))
    assert mimic("origin.test", certificate, SOON).subject == (("C", "DE"), ("L", "Köln"), ("O", "Bücher GmbH"))


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", " padded", "x\0", "\u202eevil"])
def test_a_subject_that_no_terminal_should_see_is_left_out(text):
    assert mimic("origin.test", named((NameOID.ORGANIZATION_NAME, text)), SOON).subject == ()


def test_the_length_of_a_subject_is_bounded():
    place, name = NameOID.LOCALITY_NAME, "k" * 128
    assert mimic("origin.test", named((place, name)), SOON).subject == (("L", name),)
    with_long = x509.NameAttribute(place, name + "k", _validate=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(x509, "NameAttribute", lambda *_: with_long)
        certificate = named((place, name))
    assert mimic("origin.test", certificate, SOON).subject == ()


@pytest.mark.security
def test_an_origin_that_was_not_verified_gives_neither_names_nor_subject():
    """Else a server that is let through with a bad certificate could have a good one made for somebody else's name."""
    certificate = dns("evil.test", "bank.test", common_name="bank.test")
    profile = mimic("evil.test", certificate, SOON, verified=False)
    assert (profile.names, profile.common_name, profile.subject) == (("evil.test",), "evil.test", ())
    assert profile.not_after == LEAF.end.timestamp()


def test_must_staple_and_timestamps_are_not_copied():
    """C12: a forged leaf has no staple and is in no log, so a client that believed either would refuse it."""
    staple = (x509.TLSFeature([x509.TLSFeatureType.status_request]), False)
    certificate = dns("origin.test", extra=(staple,), extended=(EKU.SERVER_AUTH, EKU.CLIENT_AUTH))
    profile = mimic("origin.test", certificate, SOON)
    pair = forge.world().intermediate
    authority = Authority("sub", pair.certificate, (), pair.key)
    leaf = sign_leaf(authority, profile, forge.ec_key(), ManualClock(NOW.timestamp()), 5)
    kinds = {type(each.value) for each in leaf.extensions}
    assert not kinds & {x509.TLSFeature, x509.PrecertificateSignedCertificateTimestamps, x509.CertificatePolicies}
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [EKU.SERVER_AUTH]


def test_a_common_name_that_is_not_certified_is_not_copied():
    assert mimic("origin.test", dns("origin.test", common_name="Honest Bank"), SOON).common_name == "origin.test"
    assert mimic("origin.test", dns("origin.test", common_name=None), SOON).common_name == "origin.test"


def test_an_expired_server_gives_no_bound():
    expired = dns("origin.test", start=NOW - timedelta(days=9), end=NOW)
    assert mimic("origin.test", expired, SOON).not_after is None
    assert mimic("origin.test", expired, SOON - 1).not_after == SOON


@pytest.mark.parametrize(
    "text", ["*", "*.test", "a*.origin.test", "*a.origin.test", "a.*.test", "", "a b", "192.0.2.1", "a\0b", ".a", "x" * 64]
)
def test_names_that_no_client_would_accept_are_left_out(text):
    assert alternative_names(dns(text, "origin.test")) == ("origin.test",)


def test_other_kinds_of_names_are_left_out():
    certificate = origin(
        x509.RFC822Name("a@origin.test"),
        x509.UniformResourceIdentifier("https://uri.test/"),
        x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
        x509.DNSName("Origin.Test"),
    )
    assert alternative_names(certificate) == ("origin.test", "2001:db8::1")


def test_a_server_without_names_gives_the_host_alone():
    assert mimic("origin.test", forge.issue(LEAF.but(names=None), None).certificate, SOON).names == ("origin.test",)


def test_a_malformed_certificate_gives_the_host_alone():
    root = forge.world().root
    broken = forge.with_extension_twice(forge.issue(LEAF, root), root).certificate
    assert mimic("origin.test", broken, SOON).names == ("origin.test",)


def test_the_number_of_names_is_bounded_and_the_host_is_kept():
    names = mimic("host.test", dns(*(f"n{i}.test" for i in range(999)), "host.test"), SOON).names
    assert len(names) == MAX_NAMES
    assert names[0] == "host.test"
    assert len(set(names)) == MAX_NAMES
    assert len(mimic("n0.test", dns(*(f"n{i}.test" for i in range(MAX_NAMES))), SOON).names) == MAX_NAMES


def test_the_bytes_of_all_names_are_bounded():
    long = [f"{'a' * 60}.{'b' * 60}.n{i:03}.test" for i in range(MAX_NAMES)]
    names = mimic("host.test", dns(*long, "host.test"), SOON).names
    assert names[0] == "host.test"
    assert MAX_NAMES_BYTES - 150 < sum(map(len, names)) <= MAX_NAMES_BYTES


def test_of_too_many_names_those_of_the_same_site_are_kept():
    certificate = dns(*(f"n{i}.test" for i in range(300)), "*.site.test", "img.site.test")
    assert mimic("www.site.test", certificate, SOON).names[:3] == ("*.site.test", "img.site.test", "n0.test")


@settings(deadline=None)
@given(st.lists(st.text(st.characters(max_codepoint=127), max_size=30), max_size=5))
def test_whatever_a_server_certifies_a_leaf_can_be_made(texts):
    profile = mimic("origin.test", dns(*texts, "origin.test"), SOON)
    names = profile.names
    assert "origin.test" in names
    assert LeafProfile.from_bytes(profile.to_bytes()) == profile
    assert all(name.isprintable() and name == name.lower() for name in names)
