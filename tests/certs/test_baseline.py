"""What CAs of the public web may not issue is refused below their roots, and below no others. TLS-01."""

import ipaddress
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from appliance.domain.reason import Reason
from certs import baseline, public_roots
from certs.fingerprint import certificate_sha256
from certs.trust import UpstreamTrust
from certs.verdict import Verdict
from tests.certs import forge_origin as forge
from tests.certs.cases import pem
from tests.certs.forge_origin import LEAF, NOW, Template
from tests.certs.tls_pair import bad_server, handshake


def named(*names: str) -> tuple[x509.GeneralName, ...]:
    return tuple(map(x509.DNSName, names))


def addressed(text: str) -> tuple[x509.GeneralName, ...]:
    return (x509.IPAddress(ipaddress.ip_address(text)),)


CRITICAL = x509.SubjectAlternativeName(named("origin.test"))

BROKEN: list[tuple[Template, str]] = [
    (LEAF.but(identifiers=False), "no key identifier"),
    (LEAF.but(names=None, extra=((CRITICAL, True),)), "critical"),
    (LEAF.but(common_name=None, names=None, extra=((CRITICAL, False),)), "critical"),
    (LEAF.but(names=named("origin.test", "under_score.origin.test")), "'under_score.origin.test' is no host name"),
    (LEAF.but(names=named("origin.test", ".origin.test")), "is no host name"),
    (LEAF.but(names=named("origin.test", "a..origin.test")), "is no host name"),
    (LEAF.but(names=named("origin.test", "origin.test.")), "is no host name"),
    (LEAF.but(names=named("origin.test", "w*.origin.test")), "is no host name"),
    (LEAF.but(names=named("origin.test", "a.*.origin.test")), "is no host name"),
    (LEAF.but(names=named("origin.test", "-a.origin.test")), "is no host name"),
    (LEAF.but(names=named("origin.test", "a" * 64 + ".origin.test")), "is no host name"),
    (LEAF.but(common_name="other.test"), "common name"),
    (LEAF.but(common_name="Origin.test"), "common name"),
    (LEAF.but(common_name="0x7f000001", names=(*named("origin.test"), *addressed("127.0.0.1"))), "common name"),
    (LEAF.but(common_name="2001:DB8::1", names=(*named("origin.test"), *addressed("2001:db8::1"))), "common name"),
]
SOUND = [
    LEAF,
    LEAF.but(common_name=None),
    LEAF.but(common_name="*.origin.test", names=named("origin.test", "*.origin.test")),
    LEAF.but(names=named("origin.test", "xn--bcher-kva.test", "a" * 63 + ".test", "1.2-3.test")),
    LEAF.but(common_name="127.0.0.1", names=(*named("origin.test"), *addressed("127.0.0.1"))),
    LEAF.but(common_name="2001:db8::1", names=(*named("origin.test"), *addressed("2001:db8::1"))),
]


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> Path:
    file: Path = tmp_path_factory.mktemp("roots") / "roots.pem"
    file.write_bytes(pem(forge.world().root))
    return file


def serve(roots: Path, template: Template, **options: object) -> Verdict:
    world = forge.world()
    trust = UpstreamTrust([roots], False, clock=ManualClock(NOW.timestamp()), **options)  # type: ignore[arg-type]
    leaf = forge.issue(template, world.intermediate)
    client = trust.connection("origin.test")
    verdict = trust.verdict(client, handshake(client, bad_server(leaf, [world.intermediate])))
    judged, _ = trust.judge("origin.test", [leaf.certificate, world.intermediate.certificate])
    assert judged.reason is verdict.reason
    return verdict


@pytest.mark.parametrize(("template", "word"), BROKEN, ids=lambda each: each if isinstance(each, str) else "")
def test_tls_01_what_a_public_ca_may_not_issue_is_refused_below_its_root_only(roots: Path, template, word) -> None:
    root = certificate_sha256(forge.world().root.certificate)
    verdict = serve(roots, template, public={root})
    assert verdict.reason is Reason.UPSTREAM_CERT_PROFILE
    assert word in verdict.detail
    assert "Baseline Requirements" in verdict.detail
    assert serve(roots, template, public={"00" * 32}).reason is Reason.OK
    assert serve(roots, template).reason is Reason.OK
    assert serve(roots, template, strict=True).reason is Reason.UPSTREAM_CERT_PROFILE, "strict asks every chain"


@pytest.mark.parametrize("template", SOUND)
def test_what_public_cas_issue_passes(roots: Path, template) -> None:
    assert serve(roots, template, public={certificate_sha256(forge.world().root.certificate)}).reason is Reason.OK


def test_a_leaf_that_is_trusted_itself_is_nobody_s(tmp_path: Path) -> None:
    leaf = forge.issue(LEAF.but(common_name="other"), None)
    file = tmp_path / "leaf.pem"
    file.write_bytes(pem(leaf))
    sha256 = certificate_sha256(leaf.certificate)
    trust = UpstreamTrust([file], False, clock=ManualClock(NOW.timestamp()), public={sha256})
    client = trust.connection("origin.test")
    assert trust.classify(client, handshake(client, bad_server(leaf))) is Reason.OK


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_the_public_roots_are_those_of_the_list(roots: Path) -> None:
    with open(certifi.where(), "rb") as file:
        listed = x509.load_pem_x509_certificates(file.read())
    assert public_roots.fingerprints() == {certificate_sha256(each) for each in listed}
    assert len(listed) > 100
    assert public_roots.fingerprints(roots) == {certificate_sha256(forge.world().root.certificate)}


@pytest.mark.parametrize(
    ("common_name", "name"),
    [
        ("other.test", x509.DNSName("origin.test")),
        ("ORIGIN.test", x509.DNSName("origin.test")),
        ("b\u00fccher.test", x509.DNSName("xn--bcher-kva.test")),
        ("0x7f.0.0.7", x509.IPAddress(ipaddress.ip_address("127.0.0.7"))),
        ("0:0:0:0:0:0:0:1", x509.IPAddress(ipaddress.ip_address("::1"))),
        ("2001:DB8::1", x509.IPAddress(ipaddress.ip_address("2001:db8::1"))),
    ],
)
def test_a_common_name_is_a_letter_for_letter_copy(common_name: str, name: x509.GeneralName) -> None:
    """Baseline Requirements section 7.1.4.3: a second spelling is read by somebody, somewhere."""

    def broken(said: str) -> str:
        return " ".join(baseline.broken_by(forge.issue(LEAF.but(common_name=said, names=[name]), None).certificate))

    assert "common name" in broken(common_name)
    assert broken(str(name.value)) == ""


@given(st.lists(st.text(st.characters(max_codepoint=127), max_size=20), max_size=4))
def test_no_names_break_the_rules(names: list[str]) -> None:
    san = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
    leaf = forge.issue(LEAF.but(common_name=None, names=None, extra=((san, True),)), forge.world().intermediate).certificate
    assert all(isinstance(each, str) for each in baseline.broken_by(leaf))
