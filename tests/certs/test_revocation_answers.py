"""CRL and OCSP for forged leaves, with `openssl` as the client; C12."""

import base64
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock, SystemClock
from certs import revoked
from certs.authority import Authority
from certs.crl import may_sign
from certs.publication import publication
from certs.responder import MAX_NONCE, MAX_REQUEST, Delegate, Responder, delegate
from certs.revocation_folder import refresh
from certs.revoked import MAX_REVOKED, Revoked, RevokedError, parse_serial
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import CA, NOW
from tests.certs.revocation_stage import RevocationStage, stage

pytestmark = pytest.mark.integration
Status = ocsp.OCSPResponseStatus
DAY = 86_400


@pytest.fixture(params=["authority", "rsa_authority"])
def made(request, tmp_path: Path) -> RevocationStage:
    return stage(tmp_path, request.getfixturevalue(request.param))


# -- with openssl ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("-nonce",), ("-no_nonce",), ("-no_nonce", "-sha256")], ids=" ".join)
def test_openssl_hears_good_then_revoked(made: RevocationStage, options: tuple[str, ...]) -> None:
    answer = made.ask("POST", "ocsp", made.request(*options))
    assert (answer.status, dict(answer.headers)["Content-Type"]) == (200, "application/ocsp-response")
    assert "Response verify OK" in made.judged(answer.body, *options)
    assert "leaf.pem: good" in made.judged(answer.body, *options)
    assert "Nonce Verify error" not in made.judged(answer.body, *options)
    made.revoke()
    said = made.judged(made.ask("POST", "ocsp", made.request(*options)).body, *options)
    assert "leaf.pem: revoked" in said
    assert "Reason: keyCompromise" in said
    assert "Response verify OK" in said


def test_openssl_verifies_with_the_crl(made: RevocationStage) -> None:
    crl = made.folder / "crl.pem"

    def verify() -> str:
        der = made.ask("GET", "ca.crl").body
        crl.write_bytes(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM))
        options = ("-x509_strict", "-crl_check", "-CAfile", made.ca, "-CRLfile", crl)
        return made.openssl("verify", *options, made.leaf_file)

    assert verify().endswith("leaf.pem: OK\n")
    assert "verify OK" in made.openssl("crl", "-in", crl, "-CAfile", made.ca, "-noout")
    made.revoke()
    assert made.refresh()
    assert "certificate revoked" in verify()


def test_a_leaf_carries_the_addresses_that_answer(made: RevocationStage) -> None:
    text = made.openssl("x509", "-in", made.leaf_file, "-noout", "-text")
    where = made.addresses()
    for url in (where.crl, where.ocsp, where.issuer):
        assert f"URI:{url}" in text
        assert url.startswith("http://pki.test/pki/")
    assert made.openssl("x509", "-in", made.leaf_file, "-noout", "-ocsp_uri").strip() == where.ocsp
    assert made.ask("GET", "ca.cer").body == made.authority.certificate.public_bytes(Encoding.DER)


# -- OCSP --------------------------------------------------------------------------------------------------------------


def question(issuer: x509.Certificate, serial: int = 5, nonce: bytes | None = None) -> bytes:
    pair = forge.issue(
        forge.LEAF.but(serial=serial), forge.Pair(issuer.public_bytes(Encoding.DER), forge.ec_key(1), issuer.subject)
    )
    builder = ocsp.OCSPRequestBuilder().add_certificate(pair.certificate, issuer, SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def status(answer: bytes) -> ocsp.OCSPResponseStatus:
    return ocsp.load_der_ocsp_response(answer).response_status


@pytest.fixture
def ca() -> Authority:
    pair = forge.issue(CA.but(common_name="Responding CA", key=forge.ec_key(1)), None)
    return Authority("responding", pair.certificate, (), pair.key)


@pytest.fixture
def responder(ca: Authority, clock: ManualClock) -> Responder:
    entry = Revoked(7, int(NOW.timestamp()) - 5, "superseded")
    return Responder(ca.certificate, delegate(ca, clock), {7: entry}, clock)


def test_what_an_answer_says(ca: Authority, responder: Responder, clock: ManualClock) -> None:
    answer = responder.answer(question(ca.certificate, 7))
    said = ocsp.load_der_ocsp_response(answer.body)
    assert (said.certificate_status, said.serial_number) == (ocsp.OCSPCertStatus.REVOKED, 7)
    assert said.revocation_reason is x509.ReasonFlags.superseded
    assert said.revocation_time_utc == NOW - timedelta(seconds=5)
    assert said.this_update_utc <= NOW < said.next_update_utc <= NOW + timedelta(days=1)
    assert len(said.certificates) == 1
    assert answer.reusable


def test_the_responder_s_certificate_is_for_nothing_else(ca: Authority, clock: ManualClock) -> None:
    certificate = delegate(ca, clock).certificate
    found = {type(each.value): each.value for each in certificate.extensions}
    assert list(found[x509.ExtendedKeyUsage]) == [x509.ExtendedKeyUsageOID.OCSP_SIGNING]
    assert x509.OCSPNoCheck in found
    assert x509.SubjectAlternativeName not in found
    assert found[x509.BasicConstraints].ca is False
    assert certificate.not_valid_after_utc - NOW <= timedelta(days=14)
    assert certificate.public_key() != ca.certificate.public_key()


@pytest.mark.security
def test_a_question_about_another_ca_is_not_ours_to_answer(ca: Authority, responder: Responder) -> None:
    for other in (forge.world().root, forge.issue(CA.but(common_name="Responding CA", key=forge.ec_key(9)), None)):
        answer = responder.answer(question(other.certificate))
        assert status(answer.body) is Status.UNAUTHORIZED
        assert not answer.reusable


@pytest.mark.parametrize(("length", "echoed"), [(1, True), (32, True), (MAX_NONCE, True), (MAX_NONCE + 1, False)])
def test_a_nonce_is_echoed_up_to_its_limit(ca: Authority, responder: Responder, length: int, echoed: bool) -> None:
    nonce = bytes(range(length % 256)) if length < 256 else b""
    answer = responder.answer(question(ca.certificate, 5, nonce))
    said = ocsp.load_der_ocsp_response(answer.body)
    assert said.response_status is (Status.SUCCESSFUL if echoed else Status.MALFORMED_REQUEST)
    if echoed:
        assert said.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
    assert not answer.reusable


def test_answers_are_signed_once_an_hour(ca: Authority, responder: Responder, clock: ManualClock) -> None:
    ask = question(ca.certificate)
    first = responder.answer(ask)
    clock.advance(3600)
    assert responder.answer(ask) is first
    clock.advance(1)
    second = responder.answer(ask)
    assert second is not first
    clock.time -= 2 * 3600
    assert responder.answer(ask) is not second


def test_a_responder_past_its_end_says_try_later(ca: Authority, responder: Responder, clock: ManualClock) -> None:
    clock.advance(15 * DAY)
    assert status(responder.answer(question(ca.certificate)).body) is Status.TRY_LATER


def test_what_is_no_request_is_malformed(responder: Responder) -> None:
    for bad in (b"", b"\x30\x00", bytes(MAX_REQUEST + 1), b"\x30" * 200):
        assert status(responder.answer(bad).body) is Status.MALFORMED_REQUEST


_CA = Authority("fuzzed", (_PAIR := forge.issue(CA.but(key=forge.ec_key(1)), None)).certificate, (), _PAIR.key)
_RESPONDER = Responder(_CA.certificate, delegate(_CA, ManualClock(NOW.timestamp())), {}, ManualClock(NOW.timestamp()))
_REQUEST = question(_CA.certificate, 5, b"nonce")


@given(st.binary(max_size=300))
def test_no_request_breaks_the_responder(data: bytes) -> None:
    assert status(_RESPONDER.answer(data).body) in set(Status)


@given(st.lists(st.tuples(st.integers(0, len(_REQUEST) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_changed_request_breaks_the_responder(changes: list[tuple[int, int]]) -> None:
    data = bytearray(_REQUEST)
    for at, value in changes:
        data[at] = value
    assert status(_RESPONDER.answer(bytes(data)).body) in set(Status)


# -- over HTTP ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(authority: Authority, tmp_path: Path) -> RevocationStage:
    return stage(tmp_path, authority)


def test_ocsp_by_get_may_be_kept_by_caches(served: RevocationStage) -> None:
    text = base64.b64encode(served.request("-no_nonce")).decode()
    answers = [served.ask("GET", f"ocsp/{each}") for each in (text, quote(text, safe=""))]
    assert answers[0].body == answers[1].body
    assert "leaf.pem: good" in served.judged(answers[0].body)
    headers = dict(answers[0].headers)
    assert headers["Cache-Control"].startswith("public, no-transform, must-revalidate, max-age=")
    assert {"Last-Modified", "Expires"} < set(headers)
    with_nonce = base64.b64encode(served.request("-nonce")).decode()
    assert dict(served.ask("GET", f"ocsp/{with_nonce}").headers)["Cache-Control"] == "no-store"


@pytest.mark.parametrize("text", ["", "%%%", "a", "é", "=" * 9000, "../../ca.key"])
def test_ocsp_by_get_with_nonsense_is_malformed(served: RevocationStage, text: str) -> None:
    assert status(served.ask("GET", f"ocsp/{text}").body) is Status.MALFORMED_REQUEST


@pytest.mark.parametrize(
    ("method", "rest", "expected"),
    [
        ("POST", "ca.crl", 405), ("DELETE", "ca.cer", 405), ("GET", "ocsp", 405), ("PUT", "ocsp", 405), ("POST", "ocsp/x", 405),
        ("GET", "ca.key", 404), ("GET", "responder.pem", 404), ("GET", "revoked.json", 404), ("GET", "../x", 404),
        ("GET", "", 404),
        ("GET", "ca.crl/x", 404), ("GET", ".lock", 404), ("HEAD", "ca.crl", 200), ("GET", "ca.crl\n", 404),
    ],
)  # fmt: skip
@pytest.mark.security
def test_what_else_is_asked_for(served: RevocationStage, method: str, rest: str, expected: int) -> None:
    assert served.ask(method, rest).status == expected


@pytest.mark.security
@pytest.mark.parametrize(
    "path", ["/pki/", "/pki/../../etc/passwd", "/pki/" + "0" * 32 + "/ca.crl", "/pki/ABC/ca.cer", "//", ""]
)
def test_only_known_cas_answer(served: RevocationStage, path: str) -> None:
    assert served.answers.answer("GET", path).status == 404


@given(st.text(max_size=60), st.binary(max_size=60))
def test_no_path_breaks_the_answers(text: str, body: bytes) -> None:
    from certs.revocation_answers import RevocationAnswers

    answers = RevocationAnswers(Path("/nonexistent"), SystemClock())
    assert answers.answer("GET", text, body).status == 404
    assert answers.answer("POST", "/pki/" + text, body).status == 404


def test_a_list_is_read_once_and_not_for_each_who_asks(served: RevocationStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is given on the loop of a worker, to whoever asks."""
    first = served.ask("GET", "ca.crl")
    read: list[bytes] = []
    load = x509.load_der_x509_crl
    monkeypatch.setattr(x509, "load_der_x509_crl", lambda data: read.append(data) or load(data))
    assert served.ask("GET", "ca.crl").body == first.body
    assert not read
    served.revoke()
    served.refresh()
    read.clear()
    assert served.ask("GET", "ca.crl").body != first.body, "and again when it was replaced"
    assert len(read) == 1


def test_a_ca_without_a_responder_yet_is_asked_again_later(served: RevocationStage) -> None:
    served.published.responder.unlink()
    answer = served.ask("POST", "ocsp", b"")
    assert (answer.status, dict(answer.headers)["Retry-After"]) == (503, "60")


def test_a_list_that_is_not_whole_answers_nothing(served: RevocationStage) -> None:
    """Fail closed: "good" must not come from a list that could not be read."""
    served.published.revoked.write_text('{"revoked": [')
    with pytest.raises(RevokedError, match="no list of revoked certificates"):
        served.ask("POST", "ocsp", served.request("-no_nonce"))


# -- what is published -------------------------------------------------------------------------------------------------


def test_nothing_is_signed_again_before_its_time(ca: Authority, clock: ManualClock, tmp_path: Path) -> None:
    assert refresh(tmp_path, ca, clock)
    assert not refresh(tmp_path, ca, clock)
    (tmp_path / "x").mkdir()
    made = stage(tmp_path / "x", ca, clock)
    first = made.published.crl.read_bytes()
    clock.advance(DAY - 1)
    assert not made.refresh()
    clock.advance(1)
    assert made.refresh()
    numbers = [
        x509.load_der_x509_crl(each).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        for each in (first, made.published.crl.read_bytes())
    ]
    assert numbers[0] < numbers[1]
    clock.advance(-3 * DAY)
    assert made.refresh()
    third = x509.load_der_x509_crl(made.published.crl.read_bytes())
    assert third.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number > numbers[1]


def test_the_responder_is_replaced_at_half_of_its_life(ca: Authority, clock: ManualClock, tmp_path: Path) -> None:
    made = stage(tmp_path, ca, clock)
    before = made.published.responder.read_bytes()
    clock.advance(6 * DAY)
    made.refresh()
    assert made.published.responder.read_bytes() == before
    clock.advance(DAY)
    made.refresh()
    assert made.published.responder.read_bytes() != before


@pytest.mark.parametrize("broken", [b"", b"nonsense", None])
def test_a_responder_that_cannot_be_used_is_replaced(ca: Authority, clock: ManualClock, tmp_path: Path, broken: bytes) -> None:
    made = stage(tmp_path, ca, clock)
    other = forge.issue(CA.but(common_name="Other", key=forge.ec_key(4)), None)
    foreign = delegate(Authority("other", other.certificate, (), other.key), clock).to_pem()
    made.published.responder.write_bytes(foreign if broken is None else broken)
    assert made.refresh()
    assert not Delegate.from_pem(made.published.responder.read_bytes()).due(ca.certificate, clock)


@pytest.mark.security
def test_nothing_published_is_for_everybody_s_eyes_or_holds_the_ca_s_key(served: RevocationStage) -> None:
    served.revoke()
    secret = served.authority.key.private_numbers().private_value.to_bytes(32)
    for file in served.published.home.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
        assert secret not in file.read_bytes()
    assert Delegate.from_pem(served.published.responder.read_bytes()).key.public_key() != served.authority.key.public_key()


def test_a_ca_that_may_not_sign_crls_has_none(clock: ManualClock, tmp_path: Path) -> None:
    pair = forge.issue(CA.but(usage=forge.key_usage(key_cert_sign=True)), None)
    authority = Authority("no crl", pair.certificate, (), pair.key)
    assert not may_sign(authority)
    made = stage(tmp_path, authority, clock)
    assert made.ask("GET", "ca.crl").status == 404
    assert made.ask("GET", "ca.cer").status == 200
    where = publication("http://a.test/", authority.fingerprint, crl=False)
    assert where.crl == ""
    assert where.ocsp.startswith("http://a.test/pki/")


# -- the list ----------------------------------------------------------------------------------------------------------


def test_an_entry_is_added_once_and_survives(served: RevocationStage) -> None:
    assert served.revoke(5)
    assert not served.revoke(5, "superseded")
    assert served.revoke(6, "superseded")
    assert {serial: each.reason for serial, each in revoked.read(served.published.revoked).items()} == {
        5: "key_compromise",
        6: "superseded",
    }


def test_entries_leave_long_after_their_leaf_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "revoked.json"
    revoked.add(file, Revoked(1, 1000))
    revoked.add(file, Revoked(2, 1000 + revoked.KEPT_SECONDS - 1))
    assert set(revoked.read(file)) == {1, 2}
    revoked.add(file, Revoked(3, 1000 + revoked.KEPT_SECONDS))
    assert set(revoked.read(file)) == {2, 3}


def test_the_list_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "revoked.json"
    file.write_bytes(revoked.encode(Revoked(serial, 1000) for serial in range(1, MAX_REVOKED)))
    revoked.add(file, Revoked(MAX_REVOKED, 1000))
    with pytest.raises(RevokedError, match="rotate the CA"):
        revoked.add(file, Revoked(MAX_REVOKED + 1, 1000))
    file.write_bytes(revoked.encode(Revoked(serial, 1000) for serial in range(1, MAX_REVOKED + 2)))
    with pytest.raises(RevokedError, match="more than"):
        revoked.read(file)


@given(st.dictionaries(st.integers(1, (1 << 159) - 1), st.integers(0, (1 << 40) - 1), max_size=5))
def test_every_list_comes_back(times: dict[int, int]) -> None:
    entries = {serial: Revoked(serial, at) for serial, at in times.items()}
    assert revoked.parse(revoked.encode(entries.values())) == entries


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_no_file_breaks_the_list(data: bytes) -> None:
    try:
        assert isinstance(revoked.parse(data), dict)
    except ValueError:
        return


@pytest.mark.parametrize("text", ["", "0", "-1", "g", "0x", "1" * 41, "f" * 40, ":", "１２"])
def test_what_is_no_serial(text: str) -> None:
    with pytest.raises(ValueError):
        parse_serial(text)


def test_serials_as_people_copy_them() -> None:
    assert {parse_serial(text) for text in ("0a:Bc", "abc", "0xABC", " abc ")} == {0xABC}


def test_the_state_directory_may_be_gone(ca: Authority, clock: ManualClock, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "pki").write_text("a file")
        with pytest.raises(OSError):
            refresh(tmp_path / "pki", ca, clock)


def test_times_of_the_crl_fit_the_ca(clock: ManualClock, tmp_path: Path) -> None:
    pair = forge.issue(CA.but(end=NOW + timedelta(days=2)), None)
    made = stage(tmp_path, Authority("short", pair.certificate, (), pair.key), clock)
    crl = x509.load_der_x509_crl(made.published.crl.read_bytes())
    assert crl.next_update_utc == datetime.fromtimestamp(NOW.timestamp(), UTC) + timedelta(days=2)
    assert crl.signature_hash_algorithm is not None
    assert crl.signature_hash_algorithm.name == SHA256().name
