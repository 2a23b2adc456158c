import ipaddress
from datetime import timedelta

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.leaf import LeafProfile
from certs.mimic import MAX_NAMES, alternative_names, mimic
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import LEAF, NOW

SOON = NOW.timestamp()


def origin(*names: x509.GeneralName, **changes: object) -> x509.Certificate:
    return forge.issue(LEAF.but(names=names or LEAF.names, **changes), forge.world().root).certificate


def dns(*names: str, **changes: object) -> x509.Certificate:
    return origin(*map(x509.DNSName, names), **changes)


def test_names_common_name_and_end_of_life_come_from_the_server():
    profile = mimic("www.origin.test", dns("origin.test", "*.origin.test"), SOON)
    assert profile == LeafProfile(
        ("www.origin.test", "origin.test", "*.origin.test"), "origin.test", True, (NOW + timedelta(days=80)).timestamp()
    )


def test_the_same_certificate_gives_each_host_its_own_profile():
    certificate = dns("*.origin.test")
    assert mimic("a.origin.test", certificate, SOON) != mimic("b.origin.test", certificate, SOON)
    assert mimic("a.origin.test", certificate, SOON) == mimic("A.origin.test.", certificate, SOON)
    assert mimic("a.origin.test", certificate, SOON, ecdsa=False).ecdsa is False


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
    names = mimic("host.test", dns(*(f"n{i}.test" for i in range(1000)), "host.test"), SOON).names
    assert len(names) == MAX_NAMES
    assert names[0] == "host.test"
    assert len(set(names)) == MAX_NAMES
    assert len(mimic("n0.test", dns(*(f"n{i}.test" for i in range(MAX_NAMES))), SOON).names) == MAX_NAMES


@settings(deadline=None)
@given(st.lists(st.text(st.characters(max_codepoint=127), max_size=30), max_size=5))
def test_whatever_a_server_certifies_a_leaf_can_be_made(texts):
    names = mimic("origin.test", dns(*texts, "origin.test"), SOON).names
    assert names[0] == "origin.test"
    assert all(name.isprintable() and name == name.lower() for name in names)
