import os
import stat
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as EKU

from appliance.domain.clock import ManualClock
from appliance.domain.errors import ConfigError
from certs import nursery
from certs.authority import MAX_FILE_BYTES, AuthorityError, Fault, load, load_or_create, load_public
from certs.generations import KEY
from tests.certs import forge_origin as forge
from tests.certs.cases import pem
from tests.certs.forge_origin import CA, NOW, Pair

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW.timestamp())


def key_pem(key, encryption=None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def write(directory: Path, certificates: bytes, key: bytes, mode: int = 0o600) -> tuple[Path, Path]:
    files = directory / "given.pem", directory / "given.key"
    for file, data in zip(files, (certificates, key), strict=True):
        file.write_bytes(data)
        file.chmod(mode)
    return files


def given(directory: Path, pair: Pair, **other: bytes) -> tuple[Path, Path]:
    return write(directory, other.get("certificates", pair.pem), other.get("key", key_pem(pair.key)))


@pytest.mark.parametrize(("kind", "size"), [("ec-p256", 256), ("ec-p384", 384), ("rsa-2048", 2048)])
def test_a_new_authority_can_sign_leaves_and_nothing_else(tmp_path, kind, size):
    authority = load_or_create(tmp_path, "main", "Arcus Test CA", kind, 365)
    certificate = authority.certificate
    assert certificate.subject.rfc4514_string() == certificate.issuer.rfc4514_string() == "CN=Arcus Test CA"
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)
    assert authority.key.key_size == size
    assert authority.sent_chain == ()
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == 365 * DAY + nursery.BACKDATE


def test_an_unknown_kind_of_key_is_refused():
    with pytest.raises(ValueError, match="dsa"):
        nursery.generate_key("dsa")


def test_the_second_start_loads_what_the_first_made(tmp_path):
    first = load_or_create(tmp_path, "main", "One")
    second = load_or_create(tmp_path, "main", "Two", "rsa-2048")
    assert second.fingerprint == first.fingerprint
    assert load_or_create(tmp_path, "other", "One").fingerprint != first.fingerprint


@pytest.mark.security
def test_files_are_for_the_owner_alone(tmp_path):
    old = os.umask(0)
    try:
        load_or_create(tmp_path / "ca", "main", "One")
    finally:
        os.umask(old)
    for path, mode in (
        ("ca", 0o700),
        ("ca/main", 0o700),
        ("ca/main/ca.key", 0o600),
        ("ca/main/ca.pem", 0o600),
        ("ca/.lock", 0o600),
    ):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == mode, path


@pytest.mark.security
def test_the_key_is_in_no_representation(tmp_path):
    authority = load_or_create(tmp_path, "main", "One")
    assert "key" not in repr(authority).lower().replace("publickey", "")
    assert not hasattr(authority.public, "key")
    assert authority.public.fingerprint == authority.fingerprint


def test_processes_that_start_together_share_one_authority(tmp_path):
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from certs.authority import load_or_create
        sys.stdin.read(1)
        print(load_or_create(Path(sys.argv[1]), "main", "One").fingerprint)
    """)
    command = [sys.executable, "-c", script, str(tmp_path / "ca")]
    root = Path(__file__).parents[2]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(4)]
    for process in started:
        process.stdin.write("x")
        process.stdin.flush()
    prints = {process.communicate(timeout=60)[0].strip() for process in started}
    assert len(prints) == 1
    assert len(prints.pop()) == 64


def test_a_creation_that_was_cut_short_is_made_anew(tmp_path, clock):
    """A process killed while it wrote left its draft: key without certificate."""
    draft = tmp_path / ".main.new"
    draft.mkdir()
    (draft / KEY).write_text("half a key")
    assert load_or_create(tmp_path, "main", "One").fingerprint
    assert not draft.exists()


def test_given_files_are_used_and_nothing_is_created(tmp_path, clock):
    pair = forge.issue(CA, None)
    certificate, key = given(tmp_path, pair)
    authority = load_or_create(tmp_path / "none", "main", "One", certificate=certificate, private_key=key, clock=clock)
    assert authority.certificate == pair.certificate
    assert not (tmp_path / "none").exists()


def test_an_intermediate_brings_its_chain_without_the_root(tmp_path, clock):
    world = forge.world()
    certificate, key = given(tmp_path, world.intermediate, certificates=pem(world.intermediate, world.root))
    authority = load("main", certificate, key, clock)
    assert authority.chain == (world.root.certificate,)
    assert authority.sent_chain == (world.intermediate.certificate,)
    assert load_public("main", certificate, clock) == authority.public


def refused(clock, certificate: Path | None, key: Path | None) -> AuthorityError:
    with pytest.raises(AuthorityError) as caught:
        load_or_create(Path("/nowhere"), "main", "One", certificate=certificate, private_key=key, clock=clock)
    return caught.value


FAULTS = {
    "expired": (CA.but(end=NOW - DAY), Fault.EXPIRED, "expired at 2025-12-31"),
    "future": (CA.but(start=NOW + DAY), Fault.NOT_YET_VALID, "not valid before 2026-01-02"),
    "no CA": (CA.but(ca=False), Fault.NOT_A_CA, "not a CA certificate"),
    "no basicConstraints": (CA.but(ca=None), Fault.NOT_A_CA, "not a CA certificate"),
    "no keyCertSign": (CA.but(usage=forge.key_usage(crl_sign=True)), Fault.NO_CERT_SIGN, "keyCertSign"),
    "weak RSA": (CA.but(key=forge.rsa_key(1024)), Fault.WEAK, "RSA key of 1024 bits"),
    "weak EC": (CA.but(key=forge.curve_key("SECP192R1")), Fault.WEAK, "EC key of 192 bits"),
}


FAULTS["EKU for clients"] = (CA.but(extended=(EKU.CLIENT_AUTH,)), Fault.NOT_FOR_SERVERS, "serverAuth")


@pytest.mark.parametrize("name", FAULTS)
def test_tls_09_a_certificate_that_must_not_sign_is_refused_with_its_cause(tmp_path, clock, name):
    template, fault, words = FAULTS[name]
    certificate, key = given(tmp_path, forge.issue(template, None))
    error = refused(clock, certificate, key)
    assert (error.fault, error.problem.file) == (fault, str(certificate))
    assert words in error.problem.message
    assert isinstance(error, ConfigError)
    assert str(certificate) in str(error)


def test_tls_09_a_pair_that_does_not_match_is_refused(tmp_path, clock):
    certificate, key = given(tmp_path, forge.issue(CA, None), key=key_pem(forge.ec_key(5)))
    error = refused(clock, certificate, key)
    assert error.fault is Fault.KEY_MISMATCH
    assert error.problem.file == str(key)
    assert str(certificate) in error.problem.message


def test_tls_09_a_certificate_with_broken_extensions_is_refused(tmp_path, clock):
    root = forge.issue(CA, None)
    certificate, key = given(tmp_path, forge.with_extension_twice(root, root))
    assert refused(clock, certificate, key).fault is Fault.MALFORMED


def test_tls_09_an_intermediate_signed_with_sha_1_is_refused(tmp_path, clock):
    world = forge.world()
    certificate, key = given(tmp_path, forge.weakly_signed(world.intermediate, world.root, "ecdsa-sha1"))
    error = refused(clock, certificate, key)
    assert (error.fault, "sha1" in error.problem.message) == (Fault.WEAK, True)


def test_tls_09_a_chain_that_does_not_link_is_refused(tmp_path, clock):
    world = forge.world()
    certificate, key = given(tmp_path, world.intermediate, certificates=pem(world.intermediate, world.stranger))
    error = refused(clock, certificate, key)
    assert (error.fault, "Stranger Root" in error.problem.message) == (Fault.BROKEN_CHAIN, True)


def test_tls_09_an_expired_root_above_is_refused(tmp_path, clock):
    root = forge.issue(CA.but(common_name="Old", end=NOW - DAY, key=forge.ec_key(1)), None)
    lower = forge.issue(CA, root)
    certificate, key = given(tmp_path, lower, certificates=pem(lower, root))
    assert refused(clock, certificate, key).fault is Fault.EXPIRED


def test_tls_09_a_chain_that_allows_no_ca_below_is_refused(tmp_path, clock):
    """RFC 5280 section 4.2.1.9: counted from each certificate above, not only from the nearest."""
    for limits, words in (((0,), "CN=One: allows 0 CAs"), ((None, 1), "CN=Two: allows 1 CAs"), ((1, 2), "")):
        upper, above = None, []
        for index, limit in reversed(list(enumerate(limits))):
            name = ("One", "Two")[index]
            template = CA.but(common_name=name, key=forge.ec_key(20 + index), path_length=limit, serial=200 + index)
            upper = forge.issue(template, upper)
            above.insert(0, upper)
        lower = forge.issue(CA.but(path_length=0), above[0])
        certificate, key = given(tmp_path, lower, certificates=pem(lower, *above))
        if words:
            error = refused(clock, certificate, key)
            assert (error.fault, words in error.problem.message) == (Fault.PATH_LENGTH, True)
        else:
            assert len(load("main", certificate, key, clock).chain) == 2


def test_tls_09_a_key_with_a_passphrase_is_opened_by_it_alone(tmp_path, clock):
    certificate, key = given(tmp_path, forge.issue(CA, None), key=key_pem(forge.ec_key(), BestAvailableEncryption(b"secret")))
    assert load("main", certificate, key, clock, b"secret").certificate
    with pytest.raises(AuthorityError) as caught:
        load("main", certificate, key, clock, b"other")
    assert (caught.value.fault, caught.value.problem.file) == (Fault.WRONG_PASSPHRASE, str(key))
    certificate, key = given(tmp_path, forge.issue(CA, None))
    assert load("main", certificate, key, clock, b"not needed").certificate


KEYS = {
    "encrypted": (key_pem(forge.ec_key(), BestAvailableEncryption(b"secret")), Fault.ENCRYPTED),
    "no key": (b"-----BEGIN NOTHING-----\n", Fault.MALFORMED),
    "empty": (b"", Fault.MALFORMED),
    "binary": (bytes(range(256)), Fault.MALFORMED),
    "ed25519": (key_pem(ed25519.Ed25519PrivateKey.generate()), Fault.WEAK),
    "rsa 1024": (key_pem(rsa.generate_private_key(65537, 1024)), Fault.WEAK),
    "too large": (b"\n" * (MAX_FILE_BYTES + 1), Fault.MALFORMED),
}


@pytest.mark.parametrize("name", KEYS)
def test_tls_09_a_key_that_cannot_be_used_is_refused_with_its_cause(tmp_path, clock, name):
    data, fault = KEYS[name]
    certificate, key = given(tmp_path, forge.issue(CA, None), key=data)
    error = refused(clock, certificate, key)
    assert (error.fault, error.problem.file) == (fault, str(key))


def test_a_file_at_the_size_limit_is_read(tmp_path, clock):
    pair = forge.issue(CA, None)
    data = key_pem(pair.key)
    certificate, key = given(tmp_path, pair, key=data + b"\n" * (MAX_FILE_BYTES - len(data)))
    assert load("main", certificate, key, clock).certificate == pair.certificate


@pytest.mark.security
@pytest.mark.parametrize(
    ("mode", "fine"), [(0o600, True), (0o400, True), (0o640, True), (0o604, False), (0o644, False), (0o602, False)]
)
def test_tls_09_a_key_that_everybody_may_read_is_refused(tmp_path, clock, mode, fine):
    certificate, key = given(tmp_path, forge.issue(CA, None))
    key.chmod(mode)
    if fine:
        assert load("main", certificate, key, clock)
    else:
        error = refused(clock, certificate, key)
        assert (error.fault, f"{mode:04o}" in error.problem.message) == (Fault.EXPOSED, True)


def test_tls_09_unreadable_files_are_named(tmp_path, clock):
    certificate, key = given(tmp_path, forge.issue(CA, None))
    absent = tmp_path / "absent"
    for first, second, named in ((absent, key, absent), (certificate, absent, absent), (tmp_path, key, tmp_path)):
        error = refused(clock, first, second)
        assert (error.fault, error.problem.file) == (Fault.UNREADABLE, str(named))


def test_tls_09_one_file_without_the_other_is_refused(tmp_path, clock):
    certificate, key = given(tmp_path, forge.issue(CA, None))
    assert refused(clock, certificate, None).fault is Fault.INCOMPLETE
    error = refused(clock, None, key)
    assert (error.fault, error.problem.file) == (Fault.INCOMPLETE, str(key))


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AuthorityError) as caught:
        load_or_create(tmp_path / "file", "main", "One")
    assert caught.value.fault is Fault.UNREADABLE


def test_identities_survive_a_renewal_with_the_same_key(tmp_path, clock):
    first = load("a", *given(tmp_path, forge.issue(CA, None)), clock)
    second = load("a", *given(tmp_path, forge.issue(CA.but(serial=7), None)), clock)
    assert first.fingerprint != second.fingerprint
    assert len(first.identities & second.identities) == 1
