"""Which servers are believed, over real TLS: OpenSSL on both ends."""

import collections
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import SSL

from appliance.domain.clock import ManualClock
from appliance.domain.reason import Reason
from certs.fingerprint import certificate_sha256, spki_sha256
from certs.roots import TrustError, system_bundle
from certs.trust import MAX_DEPTH, MAX_SENT, UpstreamTrust, verified_chain
from tests.certs import forge_origin as forge
from tests.certs.cases import CASES, CONTROLS, Case, ladder, pem
from tests.certs.forge_origin import LEAF, NOW
from tests.certs.tls_pair import bad_server, handshake, sending


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("roots") / "roots.pem"
    file.write_bytes(pem(forge.world().root))
    return file


@pytest.fixture(scope="module")
def trust(roots) -> UpstreamTrust:
    return UpstreamTrust([roots], system_roots=False, clock=ManualClock(NOW.timestamp()))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_tls_01_every_certificate_gets_its_own_word(trust, case: Case):
    leaf, *chain = case.make(forge.world())
    client = trust.connection(case.host)
    error = handshake(client, bad_server(leaf, chain))
    verdict = trust.verdict(client, error)
    assert (verdict.reason, error is None) == (case.want, case.want is Reason.OK), verdict
    assert trust.classify(client, error) is case.want
    assert verdict.text == "ok" if error is None else verdict.text.startswith(case.want.word + ": ")


@pytest.mark.parametrize("case", CONTROLS[:3], ids=str)
def test_tls_01_good_servers_are_believed_over_tls_1_2_as_well(trust, case: Case):
    leaf, *chain = case.make(forge.world())
    client = trust.connection(case.host, [b"http/1.1"])
    assert handshake(client, bad_server(leaf, chain, tls12=True)) is None
    assert client.get_protocol_version_name() == "TLSv1.2"
    assert len(verified_chain(client)) == 3


def test_the_cases_use_every_word():
    words = {reason for reason in Reason if reason.word.startswith("upstream_cert_")}
    elsewhere = {
        Reason.UPSTREAM_CERT_REVOKED,  # test_staple, test_revocation
        Reason.UPSTREAM_CERT_STAPLE_MISSING,
        Reason.UPSTREAM_CERT_REVOCATION_UNKNOWN,
        Reason.UPSTREAM_CERT_DISTRUSTED,  # below
        Reason.UPSTREAM_CERT_OWN_CA,
        Reason.UPSTREAM_CERT_PROFILE,  # test_baseline, test_webpki
        Reason.UPSTREAM_CERT_INVALID,  # for what OpenSSL may come to say
    }
    assert {case.want for case in CASES} == words - elsewhere | {Reason.OK}
    assert not [name for name, times in collections.Counter(map(str, CASES)).items() if times > 1]


def test_the_longest_chain_is_at_the_limit(trust):
    assert MAX_DEPTH == 10
    for length, believed in ((MAX_DEPTH, True), (MAX_DEPTH + 1, False)):
        leaf, *chain = ladder(length)(forge.world())
        client = trust.connection("origin.test")
        assert (handshake(client, bad_server(leaf, chain)) is None) is believed


def good_der() -> bytes:
    return forge.issue(LEAF, forge.world().intermediate).der


MALFORMED = {
    "not a certificate": [b"\x30\x03\x02\x01\x05"],
    "truncated": [good_der()[:-20]],
    "trailing bytes": [good_der() + b"\0\0"],
    "garbage": [bytes(range(256))],
    "empty entry": [b""],
    "empty list": [],
    "indefinite length": [b"\x30\x80" + good_der()[4:] + b"\0\0"],
    "zeros": [bytes(500)],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_certificates_are_refused_and_never_crash(trust, name: str):
    leaf, *chain = CONTROLS[0].make(forge.world())
    client = trust.connection("origin.test")
    error = handshake(client, bad_server(leaf, chain, tls12=True), sending(*MALFORMED[name]))
    assert error is not None
    assert trust.classify(client, error) in (
        Reason.UPSTREAM_CERT_MALFORMED,
        Reason.UPSTREAM_TLS_FAILED,
        Reason.UPSTREAM_CERT_UNTRUSTED,
    )


def test_a_certificate_without_its_key_is_refused(trust):
    """The server signs with a key that is not the certificate's."""
    leaf, *chain = CONTROLS[0].make(forge.world())
    other = forge.issue(LEAF.but(key=forge.ec_key(77)), forge.world().intermediate)
    client = trust.connection("origin.test")
    error = handshake(client, bad_server(leaf, chain, tls12=True), sending(other.der, *(each.der for each in chain)))
    assert error is not None
    assert trust.classify(client, error) is Reason.UPSTREAM_TLS_SIGNATURE


def exchange(trust: UpstreamTrust, host: str = "origin.test"):
    leaf, *chain = CONTROLS[0].make(forge.world())
    client = trust.connection(host)
    return trust.verdict(client, handshake(client, bad_server(leaf, chain)))


@pytest.mark.security
@pytest.mark.parametrize("identity", [certificate_sha256, spki_sha256])
@pytest.mark.parametrize("who", ["root", "intermediate"])
def test_our_own_ca_is_never_believed_even_if_the_system_trusts_it(roots, monkeypatch, identity, who):
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    own = identity(getattr(forge.world(), who).certificate)
    clock = ManualClock(NOW.timestamp())
    assert exchange(UpstreamTrust([], system_roots=True, clock=clock)).reason is Reason.OK
    verdict = exchange(UpstreamTrust([roots], system_roots=True, exclude={own}, clock=clock))
    assert verdict.reason is Reason.UPSTREAM_CERT_OWN_CA
    assert "own CA" in verdict.detail


@pytest.mark.security
def test_our_own_ca_renewed_with_its_key_is_excluded_too(tmp_path):
    renewed = forge.issue(forge.CA.but(common_name="Trusted Root", key=forge.ec_key(1), serial=0xABC), None)
    file = tmp_path / "renewed.pem"
    file.write_bytes(pem(renewed))
    trust = UpstreamTrust([file], False, {spki_sha256(forge.world().root.certificate)}, ManualClock(NOW.timestamp()))
    assert exchange(trust).reason is Reason.UPSTREAM_CERT_OWN_CA


@pytest.mark.security
@pytest.mark.parametrize("who", ["root", "intermediate", "leaf"])
def test_c2_a_distrusted_key_is_refused_at_any_depth(roots, who):
    """C2: also where the root that has it is trusted."""
    leaf, *chain = CONTROLS[0].make(forge.world())
    pin = spki_sha256((leaf if who == "leaf" else getattr(forge.world(), who)).certificate)
    trust = UpstreamTrust([roots], False, clock=ManualClock(NOW.timestamp()), distrusted={pin})
    client = trust.connection("origin.test")
    verdict = trust.verdict(client, handshake(client, bad_server(leaf, chain)))
    assert (verdict.reason, verdict.detail) == (Reason.UPSTREAM_CERT_DISTRUSTED, f"the key {pin}")


@pytest.mark.security
@pytest.mark.parametrize("repairs", [False, True])
def test_a_hundred_intermediates_end_a_handshake_with_their_own_word(roots, repairs):
    """A verifier that searches among them does not come back within seconds."""
    trust = UpstreamTrust([roots], False, clock=ManualClock(NOW.timestamp()), repairs=repairs)
    leaf, *chain = ladder(100)(forge.world())
    client = trust.connection("origin.test")
    assert trust.classify(client, handshake(client, bad_server(leaf, chain))) is Reason.UPSTREAM_CERT_CHAIN_TOO_LONG


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_chain_that_is_judged_outside_a_handshake_has_the_same_word(trust, case: Case):
    sent = [each.der for each in case.make(forge.world())]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chain = [x509.load_der_x509_certificate(der) for der in sent]
        verdict, built = trust.judge(case.host, chain)
    assert verdict.reason is case.want, verdict
    assert bool(built) is (case.want is Reason.OK)


def test_a_hundred_certificates_are_not_searched(trust):
    """The cap comes before verification."""
    leaf, *_ = CONTROLS[0].make(forge.world())
    chain = [leaf.certificate, *[forge.world().intermediate.certificate] * MAX_SENT]
    assert trust.judge("origin.test", chain)[0].reason is Reason.UPSTREAM_CERT_CHAIN_TOO_LONG


def test_a_self_signed_leaf_that_is_configured_as_a_root_is_believed(tmp_path):
    leaf = forge.issue(LEAF.but(ca=True, usage=None, extended=None), None)
    file = tmp_path / "leaf.pem"
    file.write_bytes(pem(leaf))
    trust = UpstreamTrust([file], False, clock=ManualClock(NOW.timestamp()))
    client = trust.connection("origin.test")
    error = handshake(client, bad_server(leaf))
    assert trust.verdict(client, error).reason is Reason.OK


def test_an_intermediate_that_is_configured_as_a_root_is_believed(tmp_path):
    file = tmp_path / "sub.pem"
    file.write_bytes(pem(forge.world().intermediate))
    clock = ManualClock(NOW.timestamp())
    assert exchange(UpstreamTrust([file], False, clock=clock)).reason is Reason.OK
    own = spki_sha256(forge.world().intermediate.certificate)
    assert exchange(UpstreamTrust([file], False, {own}, clock)).reason is Reason.UPSTREAM_CERT_OWN_CA


@pytest.mark.parametrize(
    ("template", "want"),
    [
        (forge.CA.but(end=NOW - timedelta(days=1)), Reason.UPSTREAM_CERT_EXPIRED),
        (forge.CA.but(start=NOW + timedelta(days=1)), Reason.UPSTREAM_CERT_NOT_YET_VALID),
        (forge.CA.but(key=forge.rsa_key(1024)), Reason.UPSTREAM_CERT_WEAK_KEY),
        (forge.CA.but(ca=False), Reason.UPSTREAM_CERT_ISSUER_NOT_CA),
    ],
    ids=["expired", "future", "weak", "no CA"],
)
def test_a_root_that_is_trusted_must_be_fit_as_well(tmp_path, template, want):
    root = forge.issue(template.but(common_name="Unfit Root"), None)
    file = tmp_path / "root.pem"
    file.write_bytes(pem(root))
    trust = UpstreamTrust([file], False, clock=ManualClock(NOW.timestamp()))
    client = trust.connection("origin.test")
    assert trust.classify(client, handshake(client, bad_server(forge.issue(LEAF, root)))) is want


def test_the_answer_stays_readable_when_nothing_recorded_it(trust):
    """The library's own result is asked when the connection's application data was replaced: never a silent ok."""
    client = trust.connection("origin.test")
    client.set_app_data(None)
    leaf, *chain = CONTROLS[0].make(forge.world())
    with pytest.raises(AttributeError):
        handshake(client, bad_server(leaf, chain))
    assert trust.classify(client) is not Reason.OK


def test_time_comes_from_the_clock(roots):
    clock = ManualClock(NOW.timestamp())
    trust = UpstreamTrust([roots], False, clock=clock)
    assert exchange(trust).reason is Reason.OK
    clock.advance(81 * 86400)
    assert exchange(trust).reason is Reason.UPSTREAM_CERT_EXPIRED
    clock.advance(-91 * 86400)
    assert exchange(trust).reason is Reason.OK
    clock.advance(-1)
    assert exchange(trust).reason is Reason.UPSTREAM_CERT_NOT_YET_VALID


def test_the_detail_names_what_was_found(trust):
    verdict = exchange(trust, "other.test")
    assert verdict.detail == "other.test is not in the certificate, which is for origin.test"
    assert verdict.certificate is not None
    assert verdict.certificate.subject == forge.subject("origin.test")


def test_one_context_serves_every_connection(trust):
    assert trust.connection("a.test").get_context() is trust.connection("b.test").get_context() is trust.context()


@pytest.mark.parametrize("host", ["", "a b", "127.1", "host:443", "-x.test", "a\0b"])
def test_what_is_no_host_name_is_refused_before_any_handshake(trust, host):
    with pytest.raises(ValueError):
        trust.connection(host)


@pytest.mark.parametrize(
    ("code", "want"), [(0, Reason.OK), (10, Reason.UPSTREAM_CERT_EXPIRED), (1234, Reason.UPSTREAM_CERT_INVALID)]
)
def test_a_bare_code_has_a_word(trust, code, want):
    assert trust.classify(code) is want


def test_a_handshake_that_is_not_about_certificates_has_another_word(trust):
    client = trust.connection("origin.test")
    server = bad_server(CONTROLS[0].make(forge.world())[0], tls12=True, ciphers=b"AES128-SHA")
    error = handshake(client, server)
    assert trust.classify(client, error) is Reason.UPSTREAM_TLS_CIPHER


def test_a_connection_that_has_not_finished_is_not_ok(trust):
    client = trust.connection("origin.test")
    assert trust.classify(client) is Reason.UPSTREAM_TLS_FAILED


# -- the web's profile -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(roots) -> UpstreamTrust:
    return UpstreamTrust([roots], system_roots=False, clock=ManualClock(NOW.timestamp()), strict=True)


@pytest.mark.parametrize("case", [case for case in CASES if case.want is not Reason.OK], ids=str)
def test_what_is_refused_anyway_is_refused_in_strict_mode(strict, case: Case):
    leaf, *chain = case.make(forge.world())
    client = strict.connection(case.host)
    error = handshake(client, bad_server(leaf, chain))
    assert error is not None
    assert strict.classify(client, error) in (case.want, Reason.UPSTREAM_CERT_PROFILE)


def serve(trust: UpstreamTrust, template: forge.Template) -> Reason:
    world = forge.world()
    client = trust.connection("origin.test")
    return trust.classify(
        client, handshake(client, bad_server(forge.issue(template, world.intermediate), [world.intermediate]))
    )


def test_strict_mode_accepts_what_a_public_ca_issues(strict):
    assert serve(strict, LEAF) is Reason.OK


def test_strict_mode_wants_an_authority_key_identifier(strict, trust):
    bare = LEAF.but(identifiers=False)
    assert serve(strict, bare) is Reason.UPSTREAM_CERT_PROFILE
    assert serve(trust, bare) is Reason.OK


def test_strict_mode_believes_a_leaf_that_is_configured(tmp_path):
    leaf = forge.issue(LEAF, None)
    file = tmp_path / "leaf.pem"
    file.write_bytes(pem(leaf))
    strict = UpstreamTrust([file], False, clock=ManualClock(NOW.timestamp()), strict=True)
    client = strict.connection("origin.test")
    assert strict.classify(client, handshake(client, bad_server(leaf))) is Reason.OK


# -- what we offer -----------------------------------------------------------------------------------------------------


def hello(trust: UpstreamTrust, host: str) -> dict[int, bytes]:
    """The ClientHello: extensions by number; -1 is the list of cipher suites."""
    client = trust.connection(host, [b"h2", b"http/1.1"])
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    data = client.bio_read(65536)[5 + 4 + 2 + 32 :]
    data = data[1 + data[0] :]
    suites = data[2 : 2 + int.from_bytes(data[:2])]
    data = data[2 + len(suites) :]
    data = data[1 + data[0] + 2 :]
    found = {-1: suites}
    while data:
        number, length = int.from_bytes(data[:2]), int.from_bytes(data[2:4])
        found[number], data = data[4 : 4 + length], data[4 + length :]
    return found


def test_tls_13_only_forward_secrecy_and_aead_is_offered(trust):
    suites = hello(trust, "origin.test")[-1]
    offered = {int.from_bytes(suites[at : at + 2]) for at in range(0, len(suites), 2)} - {0x00FF}
    tls13 = {0x1301, 0x1302, 0x1303}
    assert offered == tls13 | {0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9}


def test_the_hello_asks_for_a_staple_and_offers_no_old_version_or_hash(trust):
    found = hello(trust, "origin.test")
    assert found[0].endswith(b"\x00\x0borigin.test")
    assert found[5][0] == 1
    versions = found[43][1:]
    assert {versions[at : at + 2] for at in range(0, len(versions), 2)} == {b"\x03\x04", b"\x03\x03"}
    algorithms = found[13][2:]
    pairs = {algorithms[at : at + 2] for at in range(0, len(algorithms), 2)}
    assert b"\x04\x03" in pairs
    # the first octet of the old code points is the hash: 1 MD5, 2 SHA-1, 3 SHA-224
    assert not [pair for pair in pairs if pair[0] in (1, 2, 3)]
    assert found[16] == b"\x00\x0c\x02h2\x08http/1.1"


def test_no_sni_for_an_address(trust):
    assert 0 not in hello(trust, "192.0.2.7")


@pytest.mark.parametrize(
    "ciphers", [b"AES128-GCM-SHA256", b"ECDHE-RSA-AES128-SHA", b"DHE-RSA-AES128-GCM-SHA256", b"aNULL", b"eNULL"]
)
def test_tls_13_weak_servers_get_no_handshake(trust, ciphers):
    leaf = forge.issue(LEAF.but(key=forge.rsa_key(2048)), forge.world().root)
    client = trust.connection("origin.test")
    assert handshake(client, bad_server(leaf, tls12=True, ciphers=ciphers)) is not None


# -- loading -----------------------------------------------------------------------------------------------------------


def test_roots_that_cannot_be_loaded_stop_the_start(tmp_path, monkeypatch):
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing here")
    for files in ([tmp_path / "absent.pem"], [empty], [tmp_path]):
        with pytest.raises(TrustError, match=str(files[0])):
            UpstreamTrust(files, False)
    with pytest.raises(TrustError, match="no roots"):
        UpstreamTrust([], False)


def test_the_systems_roots_are_found():
    assert UpstreamTrust([], True).connection("example.com")
    assert system_bundle().is_file()


def test_no_system_roots_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr("certs.roots.SYSTEM_BUNDLES", (str(tmp_path / "absent"),))
    monkeypatch.setattr("ssl.get_default_verify_paths", lambda: type("Paths", (), {"cafile": None}))
    with pytest.raises(TrustError, match="absent"):
        system_bundle()
