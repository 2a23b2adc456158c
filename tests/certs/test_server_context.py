"""What clients meet: openssl, curl and Python's ssl against one leaf."""

import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from appliance.domain import tls_words
from certs import server_context
from certs.authority import Authority
from certs.cache import Leaf, LeafCache
from certs.profile import LeafProfile
from certs.tickets import scope_of
from tests.certs import forge_origin as forge
from tests.certs.tls_pair import accepting, handshake
from tests.certs.tls_server import serving

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("client") / "ca.pem"
    file.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    return file


async def leaf_for(authority: Authority, *names: str, ecdsa: bool = True) -> Leaf:
    return await LeafCache(authority, 10, 3600).get(LeafProfile(names, names[0], ecdsa))


def s_client(port: int, *options: str) -> str:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-verify_return_error", *options]
    done = subprocess.run(command, input=b"GET / HTTP/1.0\r\n\r\n", capture_output=True, timeout=30, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("ecdsa", [True, False], ids=["ecdsa", "rsa"])
async def test_tls_01_openssl_accepts_the_forged_leaf(authority, ca_file, version, ecdsa):
    leaf = await leaf_for(authority, "www.example.com", ecdsa=ecdsa)
    with serving(leaf.context) as port:
        said = s_client(port, version, "-CAfile", str(ca_file), "-x509_strict", "-verify_hostname", "www.example.com")
    assert "Verify return code: 0 (ok)" in said, said
    assert f"Peer signature type: {'ECDSA' if ecdsa else 'RSA-PSS'}" in said


async def test_tls_03_a_client_without_ecdsa_is_served(authority, ca_file):
    leaf = await leaf_for(authority, "www.example.com", ecdsa=False)
    with serving(leaf.context) as port:
        said = s_client(port, "-CAfile", str(ca_file), "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256")
    # the CA's own ECDSA signature on the leaf is not the client's to negotiate (RFC 8446 section 4.2.3)
    assert "Verify return code: 0 (ok)" in said, said


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_tls_01_curl_accepts_the_forged_leaf(authority, ca_file, name):
    leaf = await leaf_for(authority, "localhost", "127.0.0.1")
    with serving(leaf.context, ("http/1.1",)) as port:
        command = ["curl", "-sS", "--noproxy", "*", "--ipv4", "--cacert", str(ca_file), f"https://{name}:{port}/"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.returncode) == ("ok", 0), done.stderr


async def test_tls_01_curl_refuses_it_without_the_authority_or_for_another_name(authority, ca_file):
    leaf = await leaf_for(authority, "localhost")
    with serving(leaf.context) as port:
        for options in (["https://localhost"], ["--cacert", str(ca_file), "https://127.0.0.1"]):
            command = ["curl", "-sS", "--noproxy", "*", "--ipv4", *options[:-1], f"{options[-1]}:{port}/"]
            assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 60


async def test_pythons_strict_default_context_accepts_the_forged_leaf(authority, ca_file):
    """Python 3.13 sets VERIFY_X509_STRICT, as more clients will."""
    leaf = await leaf_for(authority, "localhost")
    context = ssl.create_default_context(cafile=str(ca_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        serving(leaf.context) as port,
        socket.create_connection(("127.0.0.1", port)) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as client,
    ):
        assert ("DNS", "localhost") in client.getpeercert()["subjectAltName"]


async def test_tls_12_a_second_connection_resumes(authority, ca_file, tmp_path):
    leaf = await leaf_for(authority, "www.example.com")
    for version in ("-tls1_2", "-tls1_3"):
        session = str(tmp_path / version)
        with serving(leaf.context) as port:
            assert "New, TLS" in s_client(port, version, "-CAfile", str(ca_file), "-sess_out", session, "-ign_eof")
            assert "Reused, TLS" in s_client(port, version, "-CAfile", str(ca_file), "-sess_in", session, "-ign_eof")


@pytest.mark.parametrize(
    "options",
    [
        ["-tls1_1"],
        ["-tls1"],
        ["-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "ECDHE+AES128+SHA:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "DHE:@SECLEVEL=0"],
    ],
)
async def test_tls_13_old_versions_and_weak_ciphers_are_refused(authority, ca_file, options):
    leaf = await leaf_for(authority, "www.example.com", ecdsa="-cipher" not in options)
    with serving(leaf.context) as port:
        said = s_client(port, "-CAfile", str(ca_file), *options)
    assert "alert" in said
    assert "Cipher is (NONE)" in said


async def test_the_chain_is_sent_without_the_root(ca_directory):
    world = forge.world()
    authority = Authority("sub", world.intermediate.certificate, (world.root.certificate,), world.intermediate.key)
    leaf = await LeafCache(authority, 10, 3600).get(LeafProfile.for_host("localhost"))
    with serving(leaf.context) as port:
        said = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-showcerts"],
            input=b"",
            capture_output=True,
            timeout=30,
            check=False,
        ).stdout.decode()
    assert said.count("-----BEGIN CERTIFICATE-----") == 2
    assert " 1 s:CN = Intermediate" in said


# -- ALPN --------------------------------------------------------------------------------------------------------------


def negotiated(context: SSL.Context, app_data: object, offered: list[bytes]) -> bytes:
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    client.set_connect_state()
    if offered:
        client.set_alpn_protos(offered)
    assert handshake(client, accepting(context, app_data)) is None
    return client.get_alpn_proto_negotiated()


@pytest.mark.parametrize(
    ("allowed", "offered", "chosen"),
    [
        (("h2", "http/1.1"), [b"http/1.1", b"h2"], b"h2"),
        (("http/1.1",), [b"h2", b"http/1.1"], b"http/1.1"),
        ((b"http/1.1",), [b"h2", b"http/1.1"], b"http/1.1"),
        ((), [b"h2"], b""),
        (("h2",), [b"spdy/3"], b""),
        (("h2",), [], b""),
    ],
)
async def test_alpn_is_chosen_by_what_the_connection_allows(authority, allowed, offered, chosen):
    leaf = await leaf_for(authority, "a.test")
    assert negotiated(leaf.context, {"alpn": allowed}, offered) == chosen


@pytest.mark.parametrize("data", [None, {}, "h2"])
async def test_no_alpn_without_application_data(authority, data):
    leaf = await leaf_for(authority, "a.test")
    assert negotiated(leaf.context, data, [b"h2"]) == b""


def test_every_cipher_has_forward_secrecy_and_aead():
    assert all(name.startswith("ECDHE-") and ("GCM" in name or "POLY1305" in name) for name in tls_words.SUITES)


@pytest.mark.parametrize(("version", "served"), [("-tls1_2", False), ("-tls1_3", True)])
async def test_tls_14_a_floor_of_tls_1_3_refuses_tls_1_2(authority, ca_file, version, served):
    leaf = await leaf_for(authority, "www.example.com")
    with serving(leaf.context.at(server_context.ClientFloor("1.3"))) as port:
        said = s_client(port, version, "-CAfile", str(ca_file))
    assert ("Cipher is (NONE)" not in said) is served, said
    assert served or "alert protocol version" in said


async def test_tls_13_suites_are_served_in_the_order_of_the_configuration(authority, ca_file):
    leaf = await leaf_for(authority, "www.example.com")
    floor = server_context.ClientFloor(ciphers=("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"))
    with serving(leaf.context.at(floor)) as port:
        preferred = s_client(port, "-tls1_2", "-CAfile", str(ca_file))
        refused = s_client(port, "-tls1_2", "-CAfile", str(ca_file), "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384")
    assert "ECDHE-ECDSA-CHACHA20-POLY1305" in preferred
    assert "handshake failure" in refused


async def test_a_leaf_has_one_context_for_each_floor(authority):
    leaf = await leaf_for(authority, "www.example.com")
    high = server_context.ClientFloor("1.3")
    assert leaf.context.at(server_context.ClientFloor()) is leaf.context
    assert leaf.context.at(high) is leaf.context.at(server_context.ClientFloor("1.3")) is not leaf.context
    assert leaf.context.at(high).at(high) is leaf.context.at(high)


def test_the_higher_floor_holds():
    low, high = server_context.ClientFloor("1.2"), server_context.ClientFloor("1.3")
    assert low.both(high) == high.both(low) == high
    assert low.both(low) == low
    one = server_context.ClientFloor(groups=("P-384", "X25519"), signatures=("rsa_pss_rsae_sha256", "ecdsa_secp256r1_sha256"))
    both = one.both(server_context.ClientFloor("1.3", signatures=("rsa_pss_rsae_sha256",), groups=("X25519", "P-256", "P-384")))
    assert (both.min_version, both.groups, both.signatures) == ("1.3", ("P-384", "X25519"), ("rsa_pss_rsae_sha256",))
    assert (one.ecdsa, both.ecdsa, both.rsa) == (True, False, True)


def test_floors_that_differ_have_other_words():
    """Tickets are good for one floor only: what stands in one list must not pass for what stands in another."""
    floors = [
        server_context.ClientFloor(),
        server_context.ClientFloor("1.3"),
        server_context.ClientFloor(ciphers=tls_words.SUITES[:1]),
        server_context.ClientFloor(signatures=tls_words.SIGNATURES[:1]),
        server_context.ClientFloor(groups=tls_words.GROUPS[:1]),
    ]
    assert len({floor.words for floor in floors}) == len(floors)
    assert len({scope_of("t", "c", LeafProfile(("a.test",)), floor) for floor in floors}) == len(floors)
