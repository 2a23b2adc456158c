"""Backups of CAs: nothing without the passphrase, nothing when changed; C21."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certs import backup
from certs.backup import COST, HEADER, MAGIC, MAX_BYTES, MIN_PASSPHRASE, BackupError, SavedCa, seal, unseal

PASSPHRASE = "correct horse battery"
CAS = [SavedCa("main", "current", "certificates", "the key", "revoked"), SavedCa("main", "next", "more", "another key")]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest cost that is read, or each guess would take as long as it should."""
    monkeypatch.setattr(backup, "COST", 14)


@pytest.fixture
def sealed() -> bytes:
    return seal(CAS, PASSPHRASE, 1_700_000_000)


def test_a_backup_comes_back(sealed: bytes) -> None:
    assert unseal(sealed, PASSPHRASE) == CAS
    elsewhere = replace(CAS[0], key="", token="safe", label="main")
    assert unseal(seal([elsewhere], PASSPHRASE, 0), PASSPHRASE) == [elsewhere]


@pytest.mark.security
def test_nothing_of_it_can_be_read(sealed: bytes) -> None:
    assert b"key" not in sealed
    assert b"main" not in sealed
    assert seal(CAS, PASSPHRASE, 1_700_000_000)[HEADER:] != sealed[HEADER:]


def test_the_cost_of_a_guess_is_high() -> None:
    assert COST == 17


@pytest.mark.security
@pytest.mark.parametrize("passphrase", ["", "Correct horse battery", PASSPHRASE + " ", PASSPHRASE[:-1]])
def test_another_passphrase_opens_nothing(sealed: bytes, passphrase: str) -> None:
    with pytest.raises(BackupError, match="passphrase is wrong, or the file was changed"):
        unseal(sealed, passphrase)


@pytest.mark.security
@pytest.mark.parametrize("length", [0, 1, MIN_PASSPHRASE - 1])
def test_a_short_passphrase_is_refused(length: int) -> None:
    with pytest.raises(BackupError, match="12 characters"):
        seal(CAS, "x" * length, 0)
    assert unseal(seal(CAS, "x" * MIN_PASSPHRASE, 0), "x" * MIN_PASSPHRASE) == CAS


@pytest.mark.security
@settings(max_examples=25)
@given(st.data())
def test_a_changed_byte_opens_nothing(data: st.DataObject) -> None:
    sealed = bytearray(_SEALED)
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BackupError):
        unseal(bytes(sealed), PASSPHRASE)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[: HEADER + 15],
        lambda data: data + b"\0",
        lambda data: b"X" + data[1:],
        lambda data: data + bytes(MAX_BYTES),
        lambda data: MAGIC + b"\x02" + data[len(MAGIC) + 1 :],
        lambda data: MAGIC + b"\x01\x1f\x08\x01" + data[len(MAGIC) + 4 :],
        lambda data: MAGIC + b"\x01\x01\x08\x01" + data[len(MAGIC) + 4 :],
        lambda data: MAGIC + b"\x01\x0e\xff\xff" + data[len(MAGIC) + 4 :],
    ],
)
def test_what_is_no_backup(sealed: bytes, change) -> None:
    with pytest.raises(BackupError):
        unseal(change(sealed), PASSPHRASE)


@pytest.mark.security
@pytest.mark.parametrize(
    "bad",
    [
        replace(CAS[0], name="../../etc"),
        replace(CAS[0], name=""),
        replace(CAS[0], name=".main.next"),
        replace(CAS[0], generation="../x"),
        replace(CAS[0], key=5),
        replace(CAS[0], key=""),
        replace(CAS[0], token="safe"),
    ],
)
def test_whoever_knows_the_passphrase_still_chooses_no_paths(bad: SavedCa) -> None:
    with pytest.raises(BackupError):
        unseal(seal([bad], PASSPHRASE, 0), PASSPHRASE)


def _small() -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup, "COST", 14)
        return seal(CAS, PASSPHRASE, 0)


_SEALED = _small()
