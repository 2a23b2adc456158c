"""Chains with several ways up: what browsers find, and OpenSSL by itself does not. TLS-01."""

import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import SSL

from appliance.domain.clock import ManualClock
from appliance.domain.reason import Reason
from certs.fingerprint import certificate_sha256, spki_sha256
from certs.look import Look
from certs.paths import MAX_PATHS, MAX_STEPS, paths
from certs.trust import MAX_SENT, UpstreamTrust, verified_chain
from tests.certs import forge_origin as forge
from tests.certs.cases import pem
from tests.certs.forge_origin import CA, LEAF, NOW, Pair
from tests.certs.tls_pair import bad_server, handshake, sending

MIDDLE = CA.but(common_name="Cross-signed", key=forge.ec_key(70), serial=0x70)
OTHER_ROOT = forge.issue(CA.but(common_name="Other Root", key=forge.ec_key(71), serial=0x71), None)
NOT_HERE = x509.NameConstraints(None, [x509.DNSName("origin.test")])
CONSTRAINED = forge.issue(
    CA.but(common_name="Constrained", key=forge.ec_key(72), serial=0x72, extra=((NOT_HERE, True),)), forge.world().root
)
EXPIRED = forge.issue(
    CA.but(common_name="Expired", key=forge.ec_key(73), serial=0x73, end=NOW - timedelta(days=1)), forge.world().root
)
GOOD = forge.issue(MIDDLE.but(serial=0x74, start=CA.start - timedelta(days=300)), OTHER_ROOT)


def bad(above: Pair) -> Pair:
    """The same CA, newer, so that OpenSSL takes it first."""
    return forge.issue(MIDDLE.but(end=CA.end + timedelta(days=300)), above)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "roots.pem"
    file.write_bytes(pem(forge.world().root, OTHER_ROOT))
    return file


def trust(file: Path, **options: object) -> UpstreamTrust:
    return UpstreamTrust([file], False, clock=ManualClock(NOW.timestamp()), **options)  # type: ignore[arg-type]


WAYS = {
    "nothing above it": ([bad(forge.issue(CA.but(common_name="Nowhere", key=forge.ec_key(74)), None)), GOOD], []),
    "name constraints": ([bad(CONSTRAINED), GOOD], [CONSTRAINED]),
    "an end": ([bad(EXPIRED), GOOD], [EXPIRED]),
}


@pytest.mark.parametrize("turned", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("way", WAYS)
def test_tls_01_another_certificate_of_the_same_issuer_is_tried(file: Path, way: str, turned: bool) -> None:
    middle, above = WAYS[way]
    leaf, trusts = forge.issue(LEAF, GOOD), trust(file)
    sent = [*(reversed(middle) if turned else middle), *above]
    client = trusts.connection("origin.test")
    error = handshake(client, bad_server(leaf, sent))
    assert (trusts.classify(client, error), error) == (Reason.OK, None)
    good = [leaf.certificate, GOOD.certificate, OTHER_ROOT.certificate]
    assert verified_chain(client) == good
    verdict, built = trusts.judge("origin.test", [leaf.certificate, *(each.certificate for each in sent)])
    assert (verdict.reason, built) == (Reason.OK, good)


def test_without_the_other_one_the_fault_is_told(file: Path) -> None:
    leaf, trusts = forge.issue(LEAF, GOOD), trust(file)
    client = trusts.connection("origin.test")
    error = handshake(client, bad_server(leaf, [bad(CONSTRAINED), CONSTRAINED]))
    assert trusts.classify(client, error) is Reason.UPSTREAM_CERT_NAME_CONSTRAINTS


@pytest.mark.security
@pytest.mark.parametrize("host", ["other.test", "origin.test"])
def test_a_way_round_forgives_the_leaf_nothing(file: Path, host: str) -> None:
    leaf = forge.issue(LEAF if host == "other.test" else LEAF.but(end=NOW - timedelta(days=1)), GOOD)
    trusts = trust(file)
    client = trusts.connection(host)
    error = handshake(client, bad_server(leaf, [bad(CONSTRAINED), GOOD, CONSTRAINED]))
    assert error is not None
    assert trusts.classify(client, error) is not Reason.OK
    assert not verified_chain(client) or trusts.verdict(client, error).reason is not Reason.OK


@pytest.mark.security
@pytest.mark.parametrize("how", ["exclude", "distrusted"])
def test_a_way_round_leads_through_nothing_that_is_refused_anywhere(file: Path, how: str) -> None:
    leaf = forge.issue(LEAF, GOOD)
    options = {
        "exclude": {"exclude": {certificate_sha256(OTHER_ROOT.certificate)}},
        "distrusted": {"distrusted": {spki_sha256(GOOD.certificate)}},
    }[how]
    trusts = trust(file, **options)
    client = trusts.connection("origin.test")
    error = handshake(client, bad_server(leaf, [bad(CONSTRAINED), GOOD, CONSTRAINED]))
    assert error is not None
    assert trusts.classify(client, error) is not Reason.OK


@pytest.mark.security
def test_a_way_round_makes_no_der_of_what_is_none(file: Path) -> None:
    leaf, trusts, middle = forge.issue(LEAF, GOOD), trust(file), [bad(CONSTRAINED), GOOD, CONSTRAINED]
    wire = sending(b"\x30\x80" + leaf.der[4:] + b"\0\0", *(each.der for each in middle))
    client = trusts.connection("origin.test")
    error = handshake(client, bad_server(leaf, middle, tls12=True), wire)
    assert trusts.classify(client, error) not in (Reason.OK, Reason.UPSTREAM_TLS_FAILED)


def test_a_look_finds_the_same_way(file: Path) -> None:
    leaf = forge.issue(LEAF, GOOD)
    look = Look(trust(file), "origin.test")
    server = bad_server(leaf, [bad(CONSTRAINED), GOOD, CONSTRAINED])
    data = look.step()
    while not look.done:
        server.bio_write(data)
        with contextlib.suppress(SSL.WantReadError):
            server.do_handshake()
        data = look.step(server.bio_read(65536))
    assert look.facts().reason is Reason.OK


@pytest.mark.security
def test_a_search_ends_however_many_certificates_have_one_name() -> None:
    """Each of them may have signed each other, and one leads to an anchor."""
    same = [
        forge.issue(CA.but(common_name="Same", key=forge.ec_key(80), serial=number + 1), None).certificate
        for number in range(MAX_SENT)
    ]
    leaf = forge.issue(LEAF, forge.issue(CA.but(common_name="Same", key=forge.ec_key(80)), None)).certificate
    assert len(list(paths([leaf, *same], [same[0]], 10))) == MAX_PATHS
    assert list(paths([leaf, *same], [OTHER_ROOT.certificate], 10)) == []
    searched = []
    assert MAX_STEPS < 1000
    for below, anchor in paths([leaf, *same[1:]], [same[0]], 3):
        assert len(below) <= 3
        searched.append((tuple(map(certificate_sha256, below)), anchor))
    assert len(set(searched)) == len(searched)


def test_key_identifiers_tell_issuers_of_one_name_apart() -> None:
    stranger = forge.issue(MIDDLE.but(key=forge.ec_key(75)), OTHER_ROOT).certificate
    leaf = forge.issue(LEAF, GOOD).certificate
    found = list(paths([leaf, stranger, GOOD.certificate], [OTHER_ROOT.certificate], 10))
    assert found == [([leaf, GOOD.certificate], OTHER_ROOT.certificate)]
    bare = forge.issue(LEAF.but(identifiers=False), GOOD).certificate
    assert len(list(paths([bare, stranger, GOOD.certificate], [OTHER_ROOT.certificate], 10))) == 2
