"""C19: what a server's TLS must offer at least, in handshakes with servers that do not."""

from pathlib import Path

import pytest
from OpenSSL import SSL

from appliance.domain.clock import ManualClock
from appliance.domain.reason import Reason
from certs.floor import VERSIONS, TlsFloor
from certs.handshake_failure import handshake_verdict
from certs.trust import UpstreamTrust
from tests.certs import forge_origin as forge
from tests.certs.cases import pem
from tests.certs.forge_origin import LEAF, NOW, Pair
from tests.certs.tls_pair import accepting, handshake

OLD = TlsFloor("1.0", ciphers=("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-GCM-SHA256"), sha1=True)


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("roots") / "roots.pem"
    file.write_bytes(pem(forge.world().root))
    return file


def server(pair: Pair, version: str, ciphers: bytes = b"ALL", signatures: bytes = b"") -> SSL.Connection:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_cipher_list(ciphers + b":@SECLEVEL=0")
    context.set_min_proto_version(VERSIONS[version])
    context.set_max_proto_version(VERSIONS[version])
    context.use_certificate(pair.certificate)
    context.use_privatekey(pair.key)
    if signatures:
        vars(SSL)["_lib"].SSL_CTX_set1_sigalgs_list(context._context, signatures)
    return accepting(context)


def reason(roots: Path, other: SSL.Connection, floor: TlsFloor | None = None, **more) -> Reason:
    trust = UpstreamTrust([roots], False, clock=ManualClock(NOW.timestamp()), floor=floor, **more)
    client = trust.connection("origin.test")
    return trust.classify(client, handshake(client, other))


def leaf(**changes: object) -> Pair:
    return forge.issue(LEAF.but(**changes), forge.world().root)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_c19_old_versions_are_refused_unless_the_floor_says_so(roots, version):
    assert reason(roots, server(leaf(), version)) is Reason.UPSTREAM_TLS_VERSION
    assert reason(roots, server(leaf(), version), OLD) is Reason.OK


def test_c19_the_floor_may_be_raised(roots):
    assert reason(roots, server(leaf(), "1.2"), TlsFloor("1.3")) is Reason.UPSTREAM_TLS_VERSION
    assert reason(roots, server(leaf(), "1.3"), TlsFloor("1.3")) is Reason.OK


@pytest.mark.parametrize("ciphers", [b"ECDHE-ECDSA-AES128-SHA", b"ECDHE-ECDSA-AES256-SHA384", b"eNULL", b"aNULL"])
def test_c19_a_suite_that_is_not_allowed_has_its_own_word(roots, ciphers):
    assert reason(roots, server(leaf(), "1.2", ciphers)) is Reason.UPSTREAM_TLS_CIPHER


def test_c19_static_rsa_is_refused(roots):
    """The client that offers it can be read by whoever gets the key later (RFC 9325 section 4.1)."""
    rsa = leaf(key=forge.rsa_key(2048))
    assert reason(roots, server(rsa, "1.2", b"AES128-GCM-SHA256")) is Reason.UPSTREAM_TLS_CIPHER
    assert reason(roots, server(rsa, "1.2", b"AES128-GCM-SHA256"), TlsFloor(ciphers=("AES128-GCM-SHA256",))) is Reason.OK


def test_c19_a_hash_that_is_not_offered_is_refused(roots):
    assert reason(roots, server(leaf(), "1.2", signatures=b"ECDSA+SHA1")) in (
        Reason.UPSTREAM_TLS_CIPHER,  # OpenSSL's servers find no suite without a signature
        Reason.UPSTREAM_TLS_SIGNATURE,
    )


@pytest.mark.parametrize(
    ("floor", "key", "want"),
    [
        (TlsFloor(min_rsa_bits=3072), forge.rsa_key(2048), Reason.UPSTREAM_CERT_WEAK_KEY),
        (TlsFloor(min_rsa_bits=2048), forge.rsa_key(2048), Reason.OK),
        (TlsFloor(min_ec_bits=384), forge.ec_key(), Reason.UPSTREAM_CERT_WEAK_KEY),
        (TlsFloor(min_rsa_bits=1024), forge.rsa_key(1024), Reason.OK),
        (TlsFloor(), forge.rsa_key(1024), Reason.UPSTREAM_CERT_WEAK_KEY),
        (TlsFloor("1.0"), forge.rsa_key(1024), Reason.UPSTREAM_CERT_WEAK_KEY),
    ],
)
def test_c19_key_sizes_at_the_limit(tmp_path, floor, key, want):
    """Also where OpenSSL's own level had to be lowered for something else."""
    root = forge.issue(forge.CA.but(common_name="Strong Root", key=forge.curve_key("SECP384R1")), None)
    (tmp_path / "root.pem").write_bytes(pem(root))
    other = server(forge.issue(LEAF.but(key=key), root), "1.2")
    assert reason(tmp_path / "root.pem", other, floor) is want


def test_c19_sha1_passes_only_where_it_is_allowed(roots):
    weak = forge.weakly_signed(leaf(), forge.world().root, "ecdsa-sha1")
    for floor, want in (
        (TlsFloor(), Reason.UPSTREAM_CERT_WEAK_SIGNATURE),
        (TlsFloor("1.0"), Reason.UPSTREAM_CERT_WEAK_SIGNATURE),
        (OLD, Reason.OK),
    ):
        assert reason(roots, server(weak, "1.2"), floor) is want


@pytest.mark.security
def test_c19_a_legacy_host_lowers_the_floor_for_itself_alone(roots):
    for host, want in (("origin.test", Reason.OK), (".origin.test", Reason.OK), ("other.test", Reason.UPSTREAM_TLS_VERSION)):
        assert reason(roots, server(leaf(), "1.0"), legacy=[([host], OLD)]) is want


@pytest.mark.parametrize("floor", [TlsFloor(ciphers=("NONSENSE",)), TlsFloor(signatures=("rot13",))])
def test_a_floor_that_names_nothing_is_refused(floor):
    with pytest.raises(ValueError, match="TLS library"):
        floor.context()


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("tlsv1 alert protocol version", Reason.UPSTREAM_TLS_VERSION),
        ("SSL routines inappropriate fallback", Reason.UPSTREAM_TLS_VERSION),
        ("SSL routines dh key too small", Reason.UPSTREAM_TLS_KEY),
        ("SSL routines wrong signature type", Reason.UPSTREAM_TLS_SIGNATURE),
        ("SSL routines unsafe legacy renegotiation disabled", Reason.UPSTREAM_TLS_CIPHER),
        ("asn1 encoding routines wrong tag", Reason.UPSTREAM_CERT_MALFORMED),
        ("SSL routines cert length mismatch", Reason.UPSTREAM_CERT_MALFORMED),
        ("SSL routines length mismatch", Reason.UPSTREAM_CERT_MALFORMED),
        ("tls alert internal error", Reason.UPSTREAM_TLS_FAILED),
        ("", Reason.UPSTREAM_TLS_FAILED),
        (SSL.Error(), Reason.UPSTREAM_TLS_FAILED),
        (SSL.Error("text"), Reason.UPSTREAM_TLS_FAILED),
        (None, Reason.UPSTREAM_TLS_FAILED),
    ],
)
def test_texts_of_the_library_become_words(text, want):
    assert handshake_verdict(text).reason is want
