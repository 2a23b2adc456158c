"""TLS-16: the Apple profile."""

import plistlib
import uuid

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from appliance.portal.mobileconfig import mobileconfig
from certs.authority import Authority
from tests.appliance.portal.anchors import offered


def test_tls_16_the_profile_holds_the_certificates_and_nothing_else(first: Authority, second: Authority) -> None:
    profile = plistlib.loads(mobileconfig("arcus.internal.a", "Example & Sons", offered(first, second)))
    assert profile["PayloadType"] == "Configuration"
    contents = profile["PayloadContent"]
    assert [each["PayloadType"] for each in contents] == ["com.apple.security.root"] * 2
    assert [x509.load_der_x509_certificate(each["PayloadContent"]) for each in contents] == [
        first.certificate,
        second.certificate,
    ]
    ids = [profile["PayloadUUID"], *(each["PayloadUUID"] for each in contents)]
    assert len({uuid.UUID(each) for each in ids}) == 3
    assert len({profile["PayloadIdentifier"], *(each["PayloadIdentifier"] for each in contents)}) == 3


def test_tls_16_the_same_certificates_are_the_same_profile(first: Authority, second: Authority) -> None:
    one = mobileconfig("arcus.internal.a", "A", offered(first))
    assert one == mobileconfig("arcus.internal.a", "A", offered(first))
    after = plistlib.loads(mobileconfig("arcus.internal.a", "A", offered(first, second)))
    before, other = plistlib.loads(one), plistlib.loads(mobileconfig("arcus.internal.b", "A", offered(first)))
    assert after["PayloadUUID"] == before["PayloadUUID"]  # replaces it on the device
    assert after["PayloadContent"][0]["PayloadUUID"] == before["PayloadContent"][0]["PayloadUUID"]
    assert other["PayloadUUID"] != before["PayloadUUID"]


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=60))
def test_tls_16_any_name_makes_a_profile_that_can_be_read(organisation: str) -> None:
    assert plistlib.loads(mobileconfig("x", organisation, ()))["PayloadOrganization"] == organisation


@pytest.mark.security
def test_tls_16_no_key_is_in_it(first: Authority) -> None:
    assert b"PRIVATE" not in mobileconfig("x", "A", offered(first))
