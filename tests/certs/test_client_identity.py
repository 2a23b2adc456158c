"""C17: a certificate of ours is seen by the server it is for, and only when that server is beyond doubt."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL

from appliance.domain.clock import ManualClock
from appliance.domain.errors import ConfigError
from appliance.domain.reason import Reason
from certs.client_identity import ClientIdentity, load_identity
from certs.trust import UpstreamTrust
from certs.upstream_sessions import presents_certificate
from tests.certs import forge_origin as forge
from tests.certs.cases import pem
from tests.certs.forge_origin import LEAF, NOW, Pair
from tests.certs.tls_pair import bad_server, handshake

pytestmark = pytest.mark.security
HOST = "origin.test"


def written(folder: Path, pair: Pair, key: Pair | None = None, mode: int = 0o600) -> tuple[Path, Path]:
    certificate, file = folder / "client.pem", folder / "client.key"
    certificate.write_bytes(pem(pair))
    file.touch(0o600)
    file.write_bytes((key or pair).key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(mode)
    return certificate, file


@pytest.fixture
def identity(tmp_path: Path) -> ClientIdentity:
    world = forge.world()
    return load_identity("gateway", *written(tmp_path, forge.issue(LEAF, world.root)))


@pytest.fixture
def trust(tmp_path: Path) -> UpstreamTrust:
    roots = tmp_path / "roots.pem"
    roots.write_bytes(pem(forge.world().root))
    return UpstreamTrust([roots], system_roots=False, clock=ManualClock(NOW.timestamp()))


def asking(leaf: Pair) -> SSL.Connection:
    """A server that asks, and takes anything."""
    server = bad_server(leaf, [], tls12=True)
    server.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    return server


def seen(server: SSL.Connection) -> bool:
    return server.get_peer_certificate() is not None


def test_c17_a_server_without_fault_sees_it(trust: UpstreamTrust, identity: ClientIdentity) -> None:
    server = asking(forge.issue(LEAF, forge.world().root))
    client = trust.connection(HOST, identity=identity)
    assert handshake(client, server) is None
    assert seen(server)
    assert client.get_app_data().asked
    assert presents_certificate(client), "and its session is for nobody else"


def test_c17_a_fault_that_a_rule_tolerates_is_doubt_enough(trust: UpstreamTrust, identity: ClientIdentity) -> None:
    expired = LEAF.but(end=NOW - timedelta(days=1))
    for mine in (None, identity):
        server = asking(forge.issue(expired, forge.world().root))
        client = trust.connection(HOST, (), lambda fault, _: fault.reason is Reason.UPSTREAM_CERT_EXPIRED, mine)
        assert (handshake(client, server) is None) is (mine is None)
        assert not seen(server)


def test_c17_other_connections_of_the_same_trust_present_nothing(trust: UpstreamTrust, identity: ClientIdentity) -> None:
    trust.connection(HOST, identity=identity)
    server = asking(forge.issue(LEAF, forge.world().root))
    client = trust.connection(HOST)
    assert not presents_certificate(client)
    assert handshake(client, server) is None
    assert not seen(server)
    assert client.get_app_data().asked


def test_c17_a_server_that_asks_can_be_refused(trust: UpstreamTrust) -> None:
    server = asking(forge.issue(LEAF, forge.world().root))
    client = trust.connection(HOST)
    client.get_app_data().refuses_asking = True
    assert "callback failed" in str(handshake(client, server))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_c17_a_key_that_others_can_read_is_not_used(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match="others can read"):
        load_identity("gateway", *written(tmp_path, forge.issue(LEAF, forge.world().root), mode=mode))


def test_c17_certificate_and_key_belong_together(tmp_path: Path) -> None:
    world = forge.world()
    other = forge.issue(LEAF.but(key=forge.ec_key(7)), world.root)
    with pytest.raises(ConfigError, match="does not belong"):
        load_identity("gateway", *written(tmp_path, forge.issue(LEAF, world.root), other))


@pytest.mark.parametrize("which", [0, 1])
def test_c17_files_that_are_none(tmp_path: Path, which: int) -> None:
    files = written(tmp_path, forge.issue(LEAF, forge.world().root))
    files[which].write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="cannot be used"):
        load_identity("gateway", *files)


def test_c17_the_key_is_in_no_representation(identity: ClientIdentity) -> None:
    assert "key" not in repr(identity).lower().replace("identity", "")
