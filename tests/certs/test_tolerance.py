"""C2: faults that may pass are noted, and nothing passes beside them."""

from pathlib import Path

import pytest
from cryptography import x509

from appliance.domain.clock import ManualClock
from appliance.domain.reason import Reason
from certs.fingerprint import certificate_sha256, spki_sha256
from certs.trust import UpstreamTrust, accepted
from certs.verdict import Verdict
from certs.verification import sent_chain, sent_leaf
from tests.certs import forge_origin as forge
from tests.certs.cases import CASES, Case, pem
from tests.certs.forge_origin import LEAF, NOW
from tests.certs.tls_pair import bad_server, handshake

ADDRESSED = LEAF.but(extra=((forge.ISSUER_ADDRESS, False),))
EXPIRED, HOST, EKU = Reason.UPSTREAM_CERT_EXPIRED, Reason.UPSTREAM_CERT_WRONG_HOST, Reason.UPSTREAM_CERT_WRONG_EKU


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("roots") / "roots.pem"
    file.write_bytes(pem(forge.world().root))
    return file


def trusting(roots: Path, **more) -> UpstreamTrust:
    return UpstreamTrust([roots], False, clock=ManualClock(NOW.timestamp()), **more)


def letting(*reasons: Reason):
    return lambda fault, _leaf: fault.reason in reasons


REFUSED = [case for case in CASES if case.want is not Reason.OK]


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_a_tolerated_fault_passes_and_is_noted(roots, case: Case):
    trust = trusting(roots)
    leaf, *chain = case.make(forge.world())
    client = trust.connection(case.host, tolerates=lambda fault, _leaf: True)
    assert handshake(client, bad_server(leaf, chain)) is None
    assert trust.verdict(client).reason is Reason.OK
    assert case.want in {fault.reason for fault in accepted(client)}


@pytest.mark.security
@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_tolerating_every_other_fault_does_not_help(roots, case: Case):
    trust = trusting(roots)
    leaf, *chain = case.make(forge.world())
    others = set(Reason) - {case.want}
    client = trust.connection(case.host, tolerates=letting(*others))
    assert handshake(client, bad_server(leaf, chain)) is not None
    assert trust.verdict(client).reason is case.want


@pytest.mark.security
def test_two_faults_need_two_leaves_to_pass(roots):
    trust = trusting(roots)
    world = forge.world()
    leaf = forge.issue(LEAF.but(end=NOW - forge.timedelta(days=1), names=[x509.DNSName("other.test")]), world.intermediate)
    for reasons, want in (((EXPIRED,), HOST), ((HOST,), EXPIRED), ((EXPIRED, HOST), Reason.OK), ((), HOST)):
        client = trust.connection("origin.test", tolerates=letting(*reasons))
        error = handshake(client, bad_server(leaf, [world.intermediate]))
        assert trust.verdict(client, error).reason is want


@pytest.mark.security
def test_our_own_ca_is_never_tolerated(roots):
    trust = trusting(roots, exclude={spki_sha256(forge.world().root.certificate)})
    leaf = forge.issue(LEAF, forge.world().root)
    client = trust.connection("origin.test", tolerates=lambda fault, _leaf: True)
    assert trust.verdict(client, handshake(client, bad_server(leaf))).reason is Reason.UPSTREAM_CERT_OWN_CA


def test_who_tolerates_sees_the_servers_own_certificate(roots):
    """Also where the fault is further up."""
    seen: list[tuple[Verdict, x509.Certificate | None]] = []
    leaf = forge.issue(LEAF, forge.world().stranger)
    client = trusting(roots).connection("origin.test", tolerates=lambda *asked: bool(seen.append(asked)))
    assert handshake(client, bad_server(leaf, [forge.world().stranger])) is not None
    ((fault, shown),) = seen
    assert fault.depth == 1
    assert shown == leaf.certificate == sent_leaf(client)
    assert sent_chain(client) == [leaf.certificate, forge.world().stranger.certificate]
    assert certificate_sha256(shown) == certificate_sha256(leaf.certificate)


# -- a chain that can be completed


def gap(roots: Path, tolerates=lambda fault, _leaf: False, template: forge.Template = ADDRESSED, host: str = "origin.test"):
    trust = trusting(roots, repairs=True)
    leaf = forge.issue(template, forge.world().intermediate)
    client = trust.connection(host, tolerates=tolerates)
    error = handshake(client, bad_server(leaf))
    return trust, client, error


def test_c11_a_gap_does_not_end_the_handshake_but_is_no_ok(roots):
    """C11: nobody who forgets to complete the chain takes it for verified."""
    trust, client, error = gap(roots)
    assert error is None
    state = client.get_app_data()
    assert state.gap is not None
    assert trust.verdict(client).reason is Reason.UPSTREAM_CERT_INCOMPLETE
    assert state.settle(client).reason is Reason.UPSTREAM_CERT_INCOMPLETE
    assert trust.verdict(client).reason is Reason.UPSTREAM_CERT_INCOMPLETE


def test_c11_a_gap_that_is_not_filled_may_be_tolerated(roots):
    trust, client, _ = gap(roots, letting(Reason.UPSTREAM_CERT_INCOMPLETE))
    assert client.get_app_data().settle(client).reason is Reason.OK
    assert trust.verdict(client).reason is Reason.OK
    assert {fault.reason for fault in accepted(client)} == {Reason.UPSTREAM_CERT_INCOMPLETE}


@pytest.mark.security
def test_c11_behind_a_gap_other_faults_are_not_forgotten(roots):
    for template, host, want in (
        (ADDRESSED, "other.test", HOST),
        (ADDRESSED.but(end=NOW - forge.timedelta(days=1)), "origin.test", EXPIRED),
    ):
        _, client, error = gap(roots, letting(Reason.UPSTREAM_CERT_INCOMPLETE), template, host)
        assert error is None
        assert client.get_app_data().settle(client).reason is want


def test_c11_a_leaf_without_an_address_is_refused_at_once(roots):
    _, client, error = gap(roots, template=LEAF)
    assert error is not None
    assert client.get_app_data().gap is None
