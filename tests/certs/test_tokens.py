"""CA keys in a token: SoftHSM, as it is and as it fails (C21)."""

import copy
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.domain.clock import SystemClock
from appliance.domain.errors import InternalError
from appliance.domain.reason import Reason
from certs import nursery, token_authority
from certs.authority import Authority, AuthorityError, Fault
from certs.mint import Mint, Seat
from certs.profile import LeafProfile
from certs.scope import Scope
from certs.token_key import EcTokenKey, RsaTokenKey, open_key
from certs.tokens import Tokens, TokenSite
from tests.softhsm import MODULE, PIN, SoftHsm

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not MODULE.exists(), reason="SoftHSM is not installed")]

KINDS = {"p256": "secp256r1", "p384": "secp384r1", "rsa": "rsa-2048"}


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    made = SoftHsm(tmp_path_factory.mktemp("hsm")).create()
    for label, kind in KINDS.items():
        made.key(label, kind)
    made.key("loose", extractable=True)
    made.key("small", "rsa-1024")
    for _ in range(2):
        made.key("twice")
    return made


@pytest.fixture
def tokens() -> Iterator[Tokens]:
    made = Tokens()
    yield made
    made.close()


type Make = Callable[..., TokenSite]


@pytest.fixture
def site(hsm: SoftHsm) -> Make:
    def make(label: str = "p256", **changes: object) -> TokenSite:
        fields = {"module": MODULE, "token": hsm.label, "label": label, "pin_file": hsm.pin_file}
        return TokenSite(**(fields | changes), environment=hsm.environment)  # type: ignore[arg-type]

    return make


def authority(directory: Path, tokens: Tokens, site: TokenSite) -> Authority:
    return token_authority.load_or_create(directory, "main", "Arcus Token CA", 365, site, tokens)


@pytest.mark.parametrize("label", KINDS)
async def test_c21_a_key_in_a_token_makes_its_ca_and_signs_leaves(
    label: str, tmp_path: Path, tokens: Tokens, site: Make
) -> None:
    ca = authority(tmp_path, tokens, site(label))
    ca.certificate.verify_directly_issued_by(ca.certificate)
    assert sorted(path.name for path in (tmp_path / "main").iterdir()) == ["ca.pem"], "no key on the disk"
    assert authority(tmp_path, tokens, site(label)).certificate == ca.certificate
    mint = Mint([Seat(ca, slow=True)], SystemClock())
    for ecdsa in (True, False):
        issued = await mint.leaf(Scope("a", ca.fingerprint), LeafProfile.for_host("a.test", ecdsa=ecdsa))
        issued.certificate.verify_directly_issued_by(ca.certificate)


def test_c21_signatures_are_those_of_the_key(tokens: Tokens, site: Make) -> None:
    for label, algorithm in (("p256", SHA256()), ("p384", SHA384())):
        key = open_key(tokens, site(label))
        assert isinstance(key, EcTokenKey)
        key.public_key().verify(key.sign(b"data", ec.ECDSA(algorithm)), b"data", ec.ECDSA(algorithm))
        assert (key.key_size, key.curve.name) == (key.public_key().key_size, KINDS[label])
    rsa = open_key(tokens, site("rsa"))
    assert isinstance(rsa, RsaTokenKey)
    rsa.public_key().verify(rsa.sign(b"data", padding.PKCS1v15(), SHA256()), b"data", padding.PKCS1v15(), SHA256())
    with pytest.raises(TypeError):
        rsa.sign(b"data", padding.PKCS1v15(), SHA1())
    assert rsa.key_size == 2048


@pytest.mark.security
@pytest.mark.parametrize("label", ["p256", "rsa"])
def test_c21_the_key_does_not_leave_the_token(label: str, tokens: Tokens, site: Make) -> None:
    key = open_key(tokens, site(label))
    attempts = [
        key.private_numbers,
        lambda: key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        lambda: pickle.dumps(key),
        lambda: key.exchange(ec.ECDH(), key.public_key()) if isinstance(key, EcTokenKey) else key.decrypt(b"", None),
    ]
    for attempt in attempts:
        with pytest.raises(TypeError):
            attempt()
    assert copy.copy(key) is copy.deepcopy(key) is key


@pytest.mark.parametrize(
    ("changes", "fault", "message"),
    [
        ({"module": Path("/none/lib.so")}, Fault.NO_MODULE, "there is no PKCS #11 library"),
        ({"module": Path(__file__)}, Fault.NO_MODULE, "cannot be loaded"),
        ({"token": "none"}, Fault.NO_TOKEN, "no token is labelled 'none'"),
        ({"label": "none"}, Fault.NO_KEY, "no private key labelled 'none'"),
        ({"label": "twice"}, Fault.NO_KEY, "several private keys"),
        ({"label": "loose"}, Fault.EXPOSED, "would give key 'loose' away"),
        ({"pin_file": Path("/none/pin")}, Fault.UNREADABLE, "the PIN cannot be read"),
    ],
)
def test_c21_what_is_wrong_is_told(changes: dict[str, object], fault: Fault, message: str, tmp_path: Path, site: Make) -> None:
    tokens = Tokens()
    try:
        with pytest.raises(AuthorityError, match=message) as error:
            authority(tmp_path, tokens, site(**changes))
        assert error.value.fault is fault
        assert not (tmp_path / "main").exists()
    finally:
        tokens.close()


@pytest.mark.security
def test_c21_a_wrong_pin_is_told_and_no_pin_ever_is(tmp_path: Path, site: Make, caplog: pytest.LogCaptureFixture) -> None:
    tokens, pin = Tokens(), tmp_path / "pin"
    pin.touch(0o600)
    pin.write_text("0000-wr0ng-pin\n")
    with caplog.at_level("DEBUG"), pytest.raises(AuthorityError, match="does not accept the PIN") as error:
        authority(tmp_path, tokens, site(pin_file=pin))
    assert error.value.fault is Fault.WRONG_PIN
    assert error.value.__cause__ is None
    for text in (str(error.value), caplog.text, repr(site(pin_file=pin))):
        assert "wr0ng" not in text
        assert PIN not in text
    pin.write_text(f"{PIN}\n")
    with pytest.raises(AuthorityError, match="does not accept the PIN"):
        authority(tmp_path, tokens, site(pin_file=pin))  # it is not tried again: after a few times a token locks itself
    pin.chmod(0o644)
    with pytest.raises(AuthorityError, match="chmod 600"):
        authority(tmp_path, Tokens(), site(pin_file=pin))
    tokens.close()


def test_c21_a_key_that_is_too_small_is_refused(tmp_path: Path, tokens: Tokens, site: Make) -> None:
    with pytest.raises(AuthorityError, match="too weak"):
        authority(tmp_path, tokens, site("small"))


def test_c21_a_certificate_of_another_key_is_refused(tmp_path: Path, tokens: Tokens, site: Make) -> None:
    authority(tmp_path, tokens, site("p256"))
    with pytest.raises(AuthorityError, match="not that of key 'rsa' in token arcus") as error:
        authority(tmp_path, tokens, site("rsa"))
    assert error.value.fault is Fault.KEY_MISMATCH


async def test_c21_a_session_that_is_lost_is_opened_again(tmp_path: Path, tokens: Tokens, site: Make) -> None:
    ca, other = authority(tmp_path / "a", tokens, site("p256")), authority(tmp_path / "b", tokens, site("rsa"))
    mint = Mint([Seat(ca, slow=True), Seat(other, slow=True)], SystemClock())
    for _ in range(2):
        for session in tokens._sessions.values():
            session.close()
        for each in (ca, other):
            assert await mint.leaf(Scope("a", each.fingerprint), LeafProfile.for_host("a.test"))
    assert tokens.trouble == ""


async def test_c21_a_token_that_is_taken_out_fails_by_name_and_is_found_again(tmp_path: Path, site: Make, hsm: SoftHsm) -> None:
    tokens = Tokens()
    ca = authority(tmp_path, tokens, site("p256"))
    mint = Mint([Seat(ca, slow=True)], SystemClock())
    drawer, slot = tmp_path / "drawer", hsm.directory / "tokens"
    shutil.move(slot, drawer)
    slot.mkdir()
    try:
        for session in tokens._sessions.values():
            session.close()
        for _ in range(2):
            with pytest.raises(InternalError, match="token arcus") as error:
                await mint.leaf(Scope("a", ca.fingerprint), LeafProfile.for_host("a.test"))
            assert error.value.reason is Reason.SIGNER_UNAVAILABLE
            assert "no token is labelled" in tokens.trouble
    finally:
        slot.rmdir()
        shutil.move(drawer, slot)
    assert await mint.leaf(Scope("a", ca.fingerprint), LeafProfile.for_host("a.test"))
    assert tokens.trouble == ""
    tokens.close()


def test_c21_the_next_ca_is_certified_by_a_sound_key_alone(tmp_path: Path, tokens: Tokens, site: Make) -> None:
    seed = nursery.Seed("Next Token CA", "token", 365)
    file = tmp_path / "ca.pem"
    where = site("p256").labelled("p384")
    file.write_bytes(token_authority.certify(tokens, where, seed, SystemClock()))
    ca = token_authority.load("main", file, open_key(tokens, where), where, SystemClock())
    ca.certificate.verify_directly_issued_by(ca.certificate)
    for label, fault in (("small", Fault.WEAK), ("none", Fault.NO_KEY), ("loose", Fault.EXPOSED)):
        with pytest.raises(AuthorityError) as error:
            token_authority.certify(tokens, site(label), seed, SystemClock())
        assert error.value.fault is fault
