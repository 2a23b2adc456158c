import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.identity import hashes
from appliance.identity.hashes import Argon2Hash, SaltedSha1, check, decoy, make
from tests.appliance.identity.groups import CHEAP


def sha1(text: bytes) -> str:
    return hashlib.sha1(text).hexdigest()


def test_usr_02_new_hashes_are_argon2id_with_the_stated_cost() -> None:
    stored = Argon2Hash.parse(make("correct horse"))
    assert (stored.memory, stored.passes, stored.lanes) == (hashes.MEMORY_KIB, hashes.PASSES, hashes.LANES)
    assert stored.matches("correct horse")
    assert not stored.matches("correct horsf")
    assert make("x") != make("x")


@pytest.mark.parametrize("password", ["", "pass", "päss wörd", "p" * 500])
@pytest.mark.parametrize(
    ("salt", "text"),
    [
        ("tenant-a-salt", lambda salt, password: salt.encode() + password),
        ("tenant-a-salt", lambda salt, password: password + salt.encode()),
        ("0badcafe", lambda salt, password: password + bytes.fromhex(salt)),
        ("0badcafe", lambda salt, password: bytes.fromhex(salt) + password),
        ("0badcafe", lambda salt, password: salt.encode() + password),
    ],
)
def test_usr_02_t11_seed_tokens_verify(password: str, salt: str, text) -> None:
    token = SaltedSha1.parse(salt, sha1(text(salt, password.encode())).upper())
    assert token.matches(password)
    assert not token.matches(password + "x")


@pytest.mark.security
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.text(min_size=1, max_size=10))
def test_usr_02_only_the_password_fits_a_token(guess: str, password: str) -> None:
    token = SaltedSha1.parse("grain-of-salt", sha1(b"grain-of-salt" + hashes.prepare(password).encode("utf-8", "replace")))
    if hashes.prepare(guess) != hashes.prepare(password):
        assert not token.matches(guess)


def test_passwords_are_compared_in_normal_form() -> None:
    assert Argon2Hash.parse(CHEAP.hash("caf\u00e9")).matches("cafe\u0301")


@pytest.mark.security
@pytest.mark.parametrize(
    "stored",
    [
        "",
        "secret",
        "$argon2id$v=19$m=65536,t=3,p=4$...",
        "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHRzYWx0$" + "A" * 43,
        "$argon2id$v=16$m=8,t=1,p=1$c29tZXNhbHRzYWx0$" + "A" * 43,
        f"$argon2id$v=19$m={hashes.MAX_MEMORY_KIB + 1},t=1,p=1$c29tZXNhbHRzYWx0$" + "A" * 43,
        f"$argon2id$v=19$m=8,t={hashes.MAX_PASSES + 1},p=1$c29tZXNhbHRzYWx0$" + "A" * 43,
        "$argon2id$v=19$m=8,t=0,p=1$c29tZXNhbHRzYWx0$" + "A" * 43,
        "$argon2id$v=19$m=7,t=1,p=1$c29tZXNhbHRzYWx0$" + "A" * 43,
        "$argon2id$v=19$m=999,t=1,p=17$c29tZXNhbHRzYWx0$" + "A" * 43,
        "$2b$12$" + "a" * 53,
    ],
)
def test_hashes_we_cannot_or_should_not_compute_are_refused(stored: str) -> None:
    with pytest.raises(ValueError) as caught:
        Argon2Hash.parse(stored)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("salt", "digest"), [("", "a" * 40), ("s", "a" * 39), ("s", "g" * 40), ("s", "a" * 40 + "\n")])
def test_malformed_tokens_are_refused(salt: str, digest: str) -> None:
    with pytest.raises(ValueError):
        SaltedSha1.parse(salt, digest)


@pytest.mark.security
@settings(max_examples=20)
@given(st.text(max_size=20))
def test_nothing_fits_a_decoy(password: str) -> None:
    assert not decoy([Argon2Hash.parse(CHEAP.hash("x"))]).matches(password)


def test_a_decoy_costs_what_the_dearest_user_costs() -> None:
    cheap, dear = Argon2Hash("", 8, 1, 1), Argon2Hash("", 64, 2, 1)
    stand_in = decoy([cheap, SaltedSha1("s", "a" * 40), dear])
    assert (stand_in.memory, stand_in.passes, stand_in.lanes) == (64, 2, 1)
    assert Argon2Hash.parse(stand_in.stored) == stand_in
    assert decoy().work == hashes.MEMORY_KIB * hashes.PASSES


class Counting(Argon2Hash):
    """Counts computations."""

    calls = 0

    def matches(self, password: str) -> bool:
        type(self).calls += 1
        return Argon2Hash.matches(self, password)


@pytest.mark.security
@pytest.mark.parametrize("kind", ["unknown", "token, right", "token, wrong", "argon2"])
def test_every_check_is_one_argon2_computation(kind: str) -> None:
    cheap = CHEAP.hash("pw")
    secret = {
        "unknown": None,
        "token, right": SaltedSha1.parse("s", sha1(b"spw")),
        "token, wrong": SaltedSha1.parse("s", sha1(b"sother")),
        "argon2": Counting(cheap, 8, 1, 1),
    }[kind]
    Counting.calls = 0
    fits = check(secret, Counting(CHEAP.hash("pw"), 8, 1, 1), "pw")
    assert Counting.calls == 1
    assert fits == (kind in ("token, right", "argon2"))
