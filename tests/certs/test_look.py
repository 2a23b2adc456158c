"""Looks at servers, good and bad, over memory: what is learnt, and where the handshake stops."""

import contextlib
from datetime import timedelta

import pytest
from OpenSSL import SSL

from appliance.domain.clock import ManualClock
from appliance.domain.reason import Reason
from appliance.domain.upstream import UpstreamFacts
from certs.look import Look
from certs.trust import UpstreamTrust
from tests.certs.forge_origin import LEAF, NOW, Pair, issue, rsa_key, world

VERSIONS = pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["1.2", "1.3"])


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> UpstreamTrust:
    path = tmp_path_factory.mktemp("roots") / "root.pem"
    path.write_bytes(world().root.pem)
    return UpstreamTrust([path], system_roots=False, clock=ManualClock(NOW.timestamp()))


def server(leaf: Pair, *chain: Pair, version: int = SSL.TLS1_3_VERSION, ask: int = SSL.VERIFY_NONE) -> SSL.Connection:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(version)
    context.use_certificate(leaf.certificate)
    context.use_privatekey(leaf.key)
    context.set_alpn_select_callback(lambda _connection, offered: offered[0])
    for each in chain:
        context.add_extra_chain_cert(each.certificate)
    if ask:
        context.set_verify(ask, lambda *_: True)
    connection = SSL.Connection(context)
    connection.set_accept_state()
    return connection


def looked(look: Look, peer: SSL.Connection) -> UpstreamFacts:
    """Run both ends until the look is done."""
    answer = b""
    for _ in range(10):
        if asked := look.step(answer):
            peer.bio_write(asked)
        if look.done:
            break
        with contextlib.suppress(SSL.WantReadError):
            peer.do_handshake()
        answer = _drained(peer)
    return look.facts("192.0.2.7")


def _drained(peer: SSL.Connection) -> bytes:
    pieces = []
    while True:
        try:
            pieces.append(peer.bio_read(65536))
        except SSL.WantReadError:
            return b"".join(pieces)


@VERSIONS
def test_c1_a_good_server_is_described(trust: UpstreamTrust, version: int) -> None:
    leaf = issue(LEAF, world().intermediate)
    facts = looked(Look(trust, "origin.test", ("h2", "http/1.1")), server(leaf, world().intermediate, version=version))
    assert (facts.reason, facts.alpn, facts.address, facts.self_signed) == (Reason.OK, "h2", "192.0.2.7", False)
    assert (facts.key_type, facts.key_bits, facts.asks_client_certificate) == ("ec", 256, False)
    assert facts.version == ("TLSv1.2" if version == SSL.TLS1_2_VERSION else "TLSv1.3")
    assert facts.cipher
    assert len(facts.chain_sha256) == 2
    assert facts.reached
    assert facts.certificate is not None
    assert (facts.certificate.issuer, facts.certificate.names) == ("CN=Intermediate", ("origin.test",))
    assert facts.certificate.sha256 == facts.chain_sha256[0]


@VERSIONS
@pytest.mark.parametrize("ask", [SSL.VERIFY_PEER, SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT], ids=["may", "must"])
def test_c17_a_server_that_asks_for_a_client_certificate_is_known(trust: UpstreamTrust, version: int, ask: int) -> None:
    leaf = issue(LEAF, world().intermediate)
    facts = looked(Look(trust, "origin.test"), server(leaf, world().intermediate, version=version, ask=ask))
    assert (facts.reason, facts.asks_client_certificate) == (Reason.OK, True)
    assert facts.certificate is not None


@VERSIONS
@pytest.mark.parametrize(
    ("host", "leaf", "reason"),
    [
        ("other.test", issue(LEAF, world().intermediate), Reason.UPSTREAM_CERT_WRONG_HOST),
        ("origin.test", issue(LEAF, world().stranger), Reason.UPSTREAM_CERT_UNTRUSTED),
        ("origin.test", issue(LEAF, None), Reason.UPSTREAM_CERT_SELF_SIGNED),
        ("origin.test", issue(LEAF.but(end=NOW - timedelta(days=1)), world().intermediate), Reason.UPSTREAM_CERT_EXPIRED),
    ],
)
def test_c1_the_verdict_is_that_of_live_traffic(
    trust: UpstreamTrust, version: int, host: str, leaf: Pair, reason: Reason
) -> None:
    facts = looked(Look(trust, host), server(leaf, world().intermediate, version=version))
    assert facts.reason is reason
    assert facts.detail
    assert facts.certificate is not None
    assert facts.self_signed is (reason is Reason.UPSTREAM_CERT_SELF_SIGNED)


def test_c1_the_key_of_a_weak_server_is_described(trust: UpstreamTrust) -> None:
    leaf = issue(LEAF.but(key=rsa_key(2048)), world().intermediate)
    facts = looked(Look(trust, "origin.test"), server(leaf, world().intermediate))
    assert (facts.key_type, facts.key_bits) == ("rsa", 2048)


def test_c1_a_server_that_is_none_shows_nothing(trust: UpstreamTrust) -> None:
    look = Look(trust, "origin.test")
    assert look.step()
    look.step(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert look.done
    assert look.facts() == UpstreamFacts(Reason.UPSTREAM_TLS_FAILED, look.facts().detail)


def test_c1_a_handshake_that_ends_early_is_a_failure(trust: UpstreamTrust) -> None:
    look = Look(trust, "origin.test")
    look.step()
    facts = look.facts()
    assert (facts.reason, facts.certificate, facts.asks_client_certificate) == (Reason.UPSTREAM_TLS_FAILED, None, None)


def test_c1_a_name_that_is_none_is_refused(trust: UpstreamTrust) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        Look(trust, "a b")
