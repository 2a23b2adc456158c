"""Stapled OCSP responses, over real TLS."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from appliance.domain.reason import Reason
from certs import staple
from certs.ocsp_answer import SKEW
from certs.trust import UpstreamTrust
from tests.certs import forge_origin as forge
from tests.certs.cases import pem
from tests.certs.forge_origin import LEAF, NOW, Pair
from tests.certs.tls_pair import bad_server, handshake

HOUR = timedelta(hours=1)
GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
MUST_STAPLE = LEAF.but(extra=((x509.TLSFeature([x509.TLSFeatureType.status_request]), False),))


def response(
    leaf: Pair,
    issuer: Pair,
    status: ocsp.OCSPCertStatus,
    *,
    signer: Pair | None = None,
    this_update: datetime = NOW - HOUR,
    next_update: datetime | None = NOW + HOUR,
    algorithm=SHA1,
    delegated: bool = False,
) -> bytes:
    signer = signer or issuer
    revoked = {"revocation_time": NOW - HOUR if status is REVOKED else None, "revocation_reason": None}
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf.certificate, issuer.certificate, algorithm(), status, this_update, next_update, **revoked
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    if delegated:
        builder = builder.certificates([signer.certificate])
    return builder.sign(signer.key, SHA256()).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def trust(tmp_path_factory) -> UpstreamTrust:
    file: Path = tmp_path_factory.mktemp("roots") / "roots.pem"
    file.write_bytes(pem(forge.world().root))
    return UpstreamTrust([file], system_roots=False, clock=ManualClock(NOW.timestamp()))


def reason(trust: UpstreamTrust, leaf: Pair, data: bytes, *, tls12: bool = False) -> Reason:
    client = trust.connection("origin.test")
    error = handshake(client, bad_server(leaf, [forge.world().intermediate], staple=data, tls12=tls12))
    return trust.classify(client, error)


def pair(template: forge.Template = LEAF) -> tuple[Pair, Pair]:
    issuer = forge.world().intermediate
    return forge.issue(template, issuer), issuer


@pytest.mark.parametrize("tls12", [True, False], ids=["tls12", "tls13"])
@pytest.mark.parametrize(("status", "want"), [(GOOD, Reason.OK), (REVOKED, Reason.UPSTREAM_CERT_REVOKED), (UNKNOWN, Reason.OK)])
def test_a_revoked_certificate_is_refused_with_its_own_word(trust, status, want, tls12):
    leaf, issuer = pair()
    assert reason(trust, leaf, response(leaf, issuer, status), tls12=tls12) is want


@pytest.mark.parametrize("algorithm", [SHA1, SHA256])
def test_a_response_that_names_the_issuer_by_either_hash_counts(trust, algorithm):
    leaf, issuer = pair()
    assert reason(trust, leaf, response(leaf, issuer, REVOKED, algorithm=algorithm)) is Reason.UPSTREAM_CERT_REVOKED


def test_a_delegated_responder_is_believed_only_with_its_usage(trust):
    leaf, issuer = pair()
    usages = ((ExtendedKeyUsageOID.OCSP_SIGNING, Reason.UPSTREAM_CERT_REVOKED), (ExtendedKeyUsageOID.SERVER_AUTH, Reason.OK))
    for usage, want in usages:
        template = LEAF.but(common_name="Responder", names=None, extended=[usage], key=forge.ec_key(40))
        responder = forge.issue(template, issuer)
        data = response(leaf, issuer, REVOKED, signer=responder, delegated=True)
        assert reason(trust, leaf, data) is want


def stale_or_foreign(leaf: Pair, issuer: Pair, status: ocsp.OCSPCertStatus) -> dict[str, bytes]:
    world = forge.world()
    other = forge.issue(LEAF.but(serial=5), issuer)
    return {
        "stale": response(leaf, issuer, status, this_update=NOW - 3 * HOUR, next_update=NOW - HOUR),
        "of tomorrow": response(leaf, issuer, status, this_update=NOW + HOUR, next_update=NOW + 2 * HOUR),
        "about another certificate": response(other, issuer, status),
        "about another issuer": response(leaf, world.root, status, signer=issuer),
        "signed by a stranger": response(leaf, issuer, status, signer=world.stranger),
        "a stranger as delegate": response(leaf, issuer, status, signer=world.stranger, delegated=True),
        "garbage": b"\x30\x03\x0a\x01\x00",
        "try later": ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER),
    }


@pytest.mark.parametrize("name", stale_or_foreign(*pair(), REVOKED))
def test_a_response_that_is_not_valid_says_nothing(trust, name):
    leaf, issuer = pair()
    assert reason(trust, leaf, stale_or_foreign(leaf, issuer, REVOKED)[name]) is Reason.OK


@pytest.mark.parametrize("name", stale_or_foreign(*pair(), GOOD))
def test_a_response_that_is_not_valid_does_not_satisfy_must_staple(trust, name):
    leaf, issuer = pair(MUST_STAPLE)
    assert reason(trust, leaf, stale_or_foreign(leaf, issuer, GOOD)[name]) is Reason.UPSTREAM_CERT_STAPLE_MISSING


@pytest.mark.parametrize("tls12", [True, False], ids=["tls12", "tls13"])
def test_must_staple_needs_a_good_response(trust, tls12):
    leaf, issuer = pair(MUST_STAPLE)
    assert reason(trust, leaf, b"", tls12=tls12) is Reason.UPSTREAM_CERT_STAPLE_MISSING
    assert reason(trust, leaf, response(leaf, issuer, UNKNOWN), tls12=tls12) is Reason.UPSTREAM_CERT_STAPLE_MISSING
    assert reason(trust, leaf, response(leaf, issuer, GOOD), tls12=tls12) is Reason.OK


def test_an_rsa_issuer_is_found_by_its_key_hash():
    issuer = forge.issue(forge.CA.but(key=forge.rsa_key(2048)), None)
    leaf = forge.issue(LEAF, issuer)
    verdict = staple.check(response(leaf, issuer, REVOKED), [leaf.certificate, issuer.certificate], NOW.timestamp())
    assert verdict is not None
    assert verdict.reason is Reason.UPSTREAM_CERT_REVOKED


def test_a_response_without_an_end_counts_and_the_edges_are_included():
    leaf, issuer = pair()
    chain = [leaf.certificate, issuer.certificate]
    assert staple.check(response(leaf, issuer, REVOKED, next_update=None), chain, NOW.timestamp())
    data = response(leaf, issuer, REVOKED)
    for seconds, counts in ((3600, True), (3601, False), (-3600 - SKEW, True), (-3601 - SKEW, False)):
        assert (staple.check(data, chain, NOW.timestamp() + seconds) is not None) is counts


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
def test_whatever_is_stapled_never_crashes(data, position):
    leaf, issuer = pair()
    chain = [leaf.certificate, issuer.certificate]
    whole = response(leaf, issuer, GOOD)
    assert staple.check(data, chain, NOW.timestamp()) is None
    assert staple.check(whole[:position] + data + whole[position + len(data) :], chain, NOW.timestamp()) is None


def test_a_leaf_that_is_its_own_anchor_needs_no_staple():
    assert staple.check(b"", [pair(MUST_STAPLE)[0].certificate], NOW.timestamp()) is None
