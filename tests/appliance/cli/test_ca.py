"""`arcus ca`: import, backup, restore, revoke; C21, TLS-09."""

import io
import json
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from certs import backup
from certs.fingerprint import spki_sha256
from tests.appliance.cli.conftest import Arcus
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import CA, Pair

PASSPHRASE = "correct horse battery"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "COST", 14)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch):
    """Lines on standard input, which is no terminal."""

    def give(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    give("")
    return give


@pytest.fixture
def subordinate(tmp_path: Path) -> tuple[Path, Path, Pair]:
    now = forge.datetime.now(forge.UTC).replace(microsecond=0)
    times = {"start": now - forge.timedelta(days=1), "end": now + forge.timedelta(days=100)}
    root = forge.issue(CA.but(common_name="Company Root", key=forge.ec_key(30), **times), None)
    lower = forge.issue(CA.but(common_name="Company Proxy CA", key=forge.ec_key(31), path_length=0, **times), root)
    chain, key = tmp_path / "chain.pem", tmp_path / "sub.key"
    chain.write_bytes(lower.pem + root.pem)
    key.write_bytes(lower.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    return chain, key, lower


def test_tls_09_a_subordinate_ca_is_imported_with_its_chain(arcus: Arcus, config: Path, subordinate) -> None:
    chain, key, lower = subordinate
    ran = arcus("ca", "import", "-c", config, "--tenant", "blue", "--certificate", chain, "--key", key, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["generation"], Path(told["file"]).read_bytes()) == ("current", chain.read_bytes())
    assert Path(told["file"]).with_name("ca.key").stat().st_mode & 0o777 == 0o600
    [shown] = json.loads(arcus("ca", "show", "-c", config, "--tenant", "blue", "--json").out)
    assert shown["subject"] == lower.certificate.subject.rfc4514_string()
    again = arcus("ca", "import", "-c", config, "--tenant", "blue", "--certificate", chain, "--key", key)
    assert (again.code, "import it with --next" in again.err) == (1, True)


def test_tls_09_a_key_with_a_passphrase(arcus: Arcus, config: Path, subordinate, typed) -> None:
    chain, key, lower = subordinate
    key.write_bytes(lower.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")))
    command = ("ca", "import", "-c", config, "--tenant", "blue", "--certificate", chain, "--key", key)
    assert "give it with --passphrase-stdin" in arcus(*command).err
    typed("wrong\n")
    refused = arcus(*command, "--passphrase-stdin")
    assert refused.code == 1
    assert f"{key}: the passphrase does not open the private key" in refused.err
    assert not (config.parent / "state" / "ca" / "main").exists()
    typed("open sesame\n")
    assert arcus(*command, "--passphrase-stdin").code == 0
    assert b"ENCRYPTED" not in (config.parent / "state" / "ca" / "main" / "ca.key").read_bytes()


@pytest.mark.parametrize("broken", ["mismatch", "no CA", "missing"])
def test_tls_09_what_must_not_sign_is_not_imported(arcus: Arcus, config: Path, subordinate, broken: str) -> None:
    chain, key, _ = subordinate
    if broken == "mismatch":
        key.write_bytes(forge.ec_key(32).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    if broken == "no CA":
        chain.write_bytes(forge.issue(forge.LEAF.but(end=forge.NOW + forge.timedelta(days=3000)), None).pem)
    if broken == "missing":
        chain.unlink()
    ran = arcus("ca", "import", "-c", config, "--tenant", "blue", "--certificate", chain, "--key", key)
    words = {
        "mismatch": f"{key}: the private key does not belong",
        "no CA": f"{chain}: ",
        "missing": f"{chain}: cannot be read",
    }
    assert ran.code == 1
    assert words[broken] in ran.err
    assert not (config.parent / "state" / "ca" / "main").exists()


def saved(arcus: Arcus, config: Path, typed, out: Path, passphrase: str = PASSPHRASE):
    typed(passphrase + "\n")
    return arcus("ca", "backup", "-c", config, "--out", out, "--passphrase-stdin", "--json")


def test_a_backup_is_restored_byte_for_byte(arcus: Arcus, config: Path, tmp_path: Path, typed) -> None:
    """C21."""
    arcus("ca", "init", "-c", config)
    arcus("ca", "revoke", "-c", config, "--tenant", "blue", "--serial", "abc")
    state, out = tmp_path / "state", tmp_path / "cas.backup"
    ran = saved(arcus, config, typed, out)
    assert json.loads(ran.out)["cas"] == ["main (current)"]
    assert out.stat().st_mode & 0o777 == 0o600
    before = {file.name: file.read_bytes() for file in (state / "ca" / "main").iterdir()}
    state.rename(tmp_path / "lost")
    typed(PASSPHRASE + "\n")
    restored = arcus("ca", "restore", "-c", config, "--from", out, "--passphrase-stdin")
    assert (restored.code, restored.out.startswith("restored: main (current)\n")) == (0, True), restored.err
    assert {file.name: file.read_bytes() for file in (state / "ca" / "main").iterdir()} == before
    assert [each["serial"] for each in json.loads(arcus("ca", "revoked", "-c", config, "--json").out)] == ["abc"]
    typed(PASSPHRASE + "\n")
    assert "nothing, all of it is there" in arcus("ca", "restore", "-c", config, "--from", out, "--passphrase-stdin").out


@pytest.mark.security
def test_a_backup_is_never_without_a_passphrase_and_never_overwrites(arcus: Arcus, config: Path, tmp_path: Path, typed) -> None:
    out = tmp_path / "cas.backup"
    assert "make one with `arcus ca init`" in saved(arcus, config, typed, out).err
    arcus("ca", "init", "-c", config)
    assert "--passphrase-stdin" in arcus("ca", "backup", "-c", config, "--out", out).err
    for short in ("", "short"):
        assert saved(arcus, config, typed, out, short).code == 1
    assert not out.exists()
    assert saved(arcus, config, typed, out).code == 0
    assert "exists" in saved(arcus, config, typed, out).err


@pytest.mark.security
def test_a_wrong_passphrase_or_a_changed_file_restores_nothing(arcus: Arcus, config: Path, tmp_path: Path, typed) -> None:
    arcus("ca", "init", "-c", config)
    out = tmp_path / "cas.backup"
    saved(arcus, config, typed, out)
    (tmp_path / "state").rename(tmp_path / "lost")
    typed("another passphrase\n")
    assert "passphrase is wrong" in arcus("ca", "restore", "-c", config, "--from", out, "--passphrase-stdin").err
    out.write_bytes(out.read_bytes()[:-1] + b"\0")
    typed(PASSPHRASE + "\n")
    assert arcus("ca", "restore", "-c", config, "--from", out, "--passphrase-stdin").code == 1
    assert not (tmp_path / "state" / "ca" / "main").exists()


@pytest.mark.security
def test_a_restore_never_overwrites_another_ca(arcus: Arcus, config: Path, tmp_path: Path, typed) -> None:
    arcus("ca", "init", "-c", config)
    out = tmp_path / "cas.backup"
    saved(arcus, config, typed, out)
    (tmp_path / "state").rename(tmp_path / "lost")
    arcus("ca", "init", "-c", config)
    key = (tmp_path / "state" / "ca" / "main" / "ca.key").read_bytes()
    typed(PASSPHRASE + "\n")
    ran = arcus("ca", "restore", "-c", config, "--from", out, "--passphrase-stdin")
    assert (ran.code, "move that folder away first" in ran.err) == (1, True)
    assert (tmp_path / "state" / "ca" / "main" / "ca.key").read_bytes() == key


def test_revoking_is_listed_once(arcus: Arcus, config: Path) -> None:
    """C12."""
    command = ("ca", "revoke", "-c", config, "--tenant", "blue", "--serial")
    assert "make it with `arcus ca init`" in arcus(*command, "ab").err
    arcus("ca", "init", "-c", config)
    assert arcus(*command, "0A:bc").out == "abc is revoked\n"
    assert arcus(*command, "abc").out == "abc was revoked before\n"
    [entry] = json.loads(arcus("ca", "revoked", "-c", config, "--tenant", "blue", "--json").out)
    assert (entry["serial"], entry["reason"]) == ("abc", "key_compromise")
    assert "abc" in arcus("ca", "revoked", "-c", config, "--tenant", "blue").out
    assert "not a serial number" in arcus(*command, "xyz").err
    assert arcus(*command, "abd", "--reason", "nonsense").code == 2


def test_the_words_for_why_are_those_of_the_list() -> None:
    from appliance.cli.ca_revocation import Why
    from certs.revoked import REASONS

    assert set(Why) == set(REASONS)


def test_a_ca_of_the_operator_s_own_files_is_left_to_the_operator(
    arcus: Arcus, config: Path, tmp_path: Path, subordinate, typed
) -> None:
    chain, key, _ = subordinate
    text = config.read_text()
    assert "ca:" in text
    named = text.replace("- name: main", f"- name: main\n    certificate: {chain}\n    private_key: {key}", 1)
    config.write_text(named)
    ran = arcus("ca", "import", "-c", config, "--tenant", "blue", "--certificate", chain, "--key", key)
    assert (ran.code, "change those files yourself" in ran.err) == (1, True), ran.err
    assert x509.load_pem_x509_certificate(chain.read_bytes())
    assert saved(arcus, config, typed, tmp_path / "cas.backup").code == 1


# -- a key in a token --

TOKEN = """- name: main
    pkcs11: {module: ./module.so, token: safe, label: main-key, pin_file: ./pin}"""


@pytest.fixture
def in_token(arcus: Arcus, config: Path, tmp_path: Path) -> str:
    """The configuration without the token. The CA's certificate is there; its key nobody has here."""
    arcus("ca", "init", "-c", config)
    (tmp_path / "state" / "ca" / "main" / "ca.key").unlink()
    (tmp_path / "module.so").write_text("nobody loads it")
    (tmp_path / "pin").touch(0o600)
    (tmp_path / "pin").write_text("1234")
    text = config.read_text()
    config.write_text(text.replace("- name: main", TOKEN, 1))
    return text


def test_c21_of_a_ca_in_a_token_the_backup_says_where_its_key_is(
    arcus: Arcus, config: Path, tmp_path: Path, typed, in_token: str
) -> None:
    """C21."""
    arcus("ca", "revoke", "-c", config, "--tenant", "blue", "--serial", "abc")
    state, out = tmp_path / "state", tmp_path / "cas.backup"
    assert json.loads(saved(arcus, config, typed, out).out)["cas"] == ["main (current)"]
    [ca] = backup.unseal(out.read_bytes(), PASSPHRASE)
    assert (ca.key, ca.token, ca.label) == ("", "safe", "main-key")
    certificate = (state / "ca" / "main" / "ca.pem").read_bytes()
    state.rename(tmp_path / "lost")
    typed(PASSPHRASE + "\n")
    ran = arcus("ca", "restore", "-c", config, "--from", out, "--passphrase-stdin")
    assert ran.code == 0, ran.err
    sha256 = spki_sha256(x509.load_pem_x509_certificate(certificate))
    assert f"main (current) needs the key 'main-key' in the token 'safe', with the public key sha256 {sha256}" in ran.out
    files = {each.name: each.read_bytes() for each in (state / "ca" / "main").iterdir()}
    assert files == {"ca.pem": certificate, "ca.label": b"main-key"}
    assert [each["serial"] for each in json.loads(arcus("ca", "revoked", "-c", config, "--json").out)] == ["abc"]
    typed(PASSPHRASE + "\n")
    again = json.loads(arcus("ca", "restore", "-c", config, "--from", out, "--passphrase-stdin", "--json").out)
    assert (again["restored"], again["unchanged"]) == ([], ["main (current)"])
    assert again["needs"] == {"main (current)": {"token": "safe", "label": "main-key", "public_key_sha256": sha256}}


@pytest.mark.security
def test_c21_a_ca_is_not_restored_where_the_configuration_has_its_key_elsewhere(
    arcus: Arcus, config: Path, tmp_path: Path, typed, in_token: str
) -> None:
    token, file = tmp_path / "token.backup", tmp_path / "file.backup"
    with_token = config.read_text()
    saved(arcus, config, typed, token)
    (tmp_path / "state").rename(tmp_path / "lost")
    config.write_text(in_token)
    typed(PASSPHRASE + "\n")
    ran = arcus("ca", "restore", "-c", config, "--from", token, "--passphrase-stdin")
    assert (ran.code, "names none for it" in ran.err, "the key 'main-key' in the token 'safe'" in ran.err) == (1, True, True)
    arcus("ca", "init", "-c", config)
    saved(arcus, config, typed, file)
    (tmp_path / "state").rename(tmp_path / "lost too")
    config.write_text(with_token)
    typed(PASSPHRASE + "\n")
    ran = arcus("ca", "restore", "-c", config, "--from", file, "--passphrase-stdin")
    assert (ran.code, "the backup has it in a file" in ran.err) == (1, True)
    assert not (tmp_path / "state" / "ca" / "main").exists()


def test_c21_the_next_ca_of_a_token_needs_a_key_of_its_own(arcus: Arcus, config: Path, in_token: str) -> None:
    rotate = ("ca", "rotate", "-c", config, "--tenant", "blue")
    assert "give its label with --label" in arcus(*rotate).err
    assert "is the one that signs now" in arcus(*rotate, "--label", "main-key").err
    config.write_text(in_token)
    assert "has no label" in arcus(*rotate, "--label", "main-key").err
