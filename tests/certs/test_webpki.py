"""The public web's profile, where it goes beyond RFC 5280 and beyond what the library asks."""

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.domain.reason import Reason
from certs import webpki
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import CA, LEAF, NOW, Pair

OTHER = forge.ec_key(90).public_key()


def judge(leaf: forge.Template = LEAF, root: Pair | None = None, host: str = "origin.test") -> str:
    """What is wrong with a leaf below a root, or an empty string."""
    anchor = root or forge.world().root
    verdict = webpki.check([forge.issue(leaf, anchor).certificate, anchor.certificate], host, NOW.timestamp(), 10)
    assert verdict is None or verdict.reason is Reason.UPSTREAM_CERT_PROFILE
    return verdict.detail if verdict else ""


def root(*extra: x509.ExtensionType, **changes: object) -> Pair:
    """A root that identifies itself as public ones do, by a subject key identifier alone."""
    key = forge.ec_key(91)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    extensions = tuple((each, False) for each in (own, *extra))
    template = CA.but(common_name="Public Root", key=key, identifiers=False, extra=extensions)
    return forge.issue(template.but(**changes), None)


def test_what_a_public_ca_issues_fits() -> None:
    assert judge() == ""
    assert judge(root=root()) == ""
    assert judge(LEAF.but(common_name=None)) == ""


def test_anything_is_no_usage_for_a_server() -> None:
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]
    assert "extendedKeyUsage" in judge(LEAF.but(extended=usages))


@pytest.mark.parametrize(("bits", "fits"), [(2048, True), (2056, True), (2050, False)])
def test_rsa_keys_are_of_whole_octets(bits: int, fits: bool) -> None:
    assert ("multiple of 8" in judge(LEAF.but(key=forge.rsa_key(bits)))) is not fits


def test_a_serial_number_of_20_octets_is_the_longest() -> None:
    assert judge(LEAF.but(serial=webpki.MAX_SERIAL - 1)) == ""


@pytest.mark.parametrize(
    ("extension", "word"),
    [
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), "root with extendedKeyUsage"),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(OTHER), "another's"),
        (x509.AuthorityKeyIdentifier(b"1" * 20, [x509.DNSName("root.test")], 5), "authorityKeyIdentifier"),
    ],
)
def test_roots_say_no_more_than_they_may(extension: x509.ExtensionType, word: str) -> None:
    detail = judge(root=root(extension))
    assert word in detail or "AKI" in detail, detail


def test_a_ca_that_is_configured_as_an_anchor_may_have_what_a_root_may_not() -> None:
    issuer = forge.issue(CA.but(extended=[ExtendedKeyUsageOID.SERVER_AUTH], key=forge.ec_key(92)), forge.world().root)
    assert judge(root=issuer) == ""
