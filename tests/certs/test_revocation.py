"""C18: whether certificates have been taken back, by every way, in every mode."""

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock, SystemClock
from appliance.domain.reason import Reason
from certs import crl_answer, ocsp_answer
from certs.patience import Patience
from certs.revocation import Finding, Modes, Revocation
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import CA, LEAF, NOW, Pair
from tests.certs.test_staple import GOOD, REVOKED, UNKNOWN, response
from tests.tlslab.revocation import crl_at, ocsp_at

HOUR = timedelta(hours=1)
URL, LIST = "http://ca.test/ocsp", "http://ca.test/i.crl"
ISSUER = forge.world().intermediate
LONG = LEAF.but(end=NOW + timedelta(days=80), serial=0x77)


def crl(
    *serials: int,
    issuer: Pair = ISSUER,
    signer: Pair | None = None,
    change: Callable = lambda builder: builder,
) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.name).last_update(NOW - HOUR).next_update(NOW + HOUR)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - HOUR)
        builder = builder.add_revoked_certificate(entry.build())
    return change(builder).sign((signer or issuer).key, SHA256()).public_bytes(Encoding.DER)


def listed(data: bytes, certificate: Pair, now: float = NOW.timestamp(), issuer: Pair = ISSUER) -> bool | None:
    found = crl_answer.answer(data, certificate.certificate, issuer.certificate, now)
    return None if found is None else found.revoked


LEAF_PAIR = forge.issue(LONG.but(extra=(crl_at(LIST),)), ISSUER)
SERIAL = 0x77


# -- lists


def test_c18_a_list_names_what_is_revoked():
    assert listed(crl(SERIAL), LEAF_PAIR) is True
    assert listed(crl(1, 2), LEAF_PAIR) is False
    assert listed(crl(), LEAF_PAIR) is False
    pem = x509.load_der_x509_crl(crl(SERIAL)).public_bytes(Encoding.PEM)
    assert listed(pem, LEAF_PAIR) is True


def test_c18_a_list_counts_while_it_is_current():
    for seconds, want in ((3600, True), (3601, None), (-3600 - 300, True), (-3601 - 300, None)):
        assert listed(crl(SERIAL), LEAF_PAIR, NOW.timestamp() + seconds) is want


@pytest.mark.security
def test_c18_a_list_that_somebody_else_signed_is_worth_nothing():
    stranger = forge.world().stranger
    assert listed(crl(signer=stranger), LEAF_PAIR) is None
    assert listed(crl(issuer=stranger), LEAF_PAIR) is None
    no_lists = forge.issue(CA.but(usage=forge.key_usage(key_cert_sign=True), key=forge.ec_key(60)), forge.world().root)
    assert listed(crl(issuer=no_lists), forge.issue(LONG, no_lists), issuer=no_lists) is None


def point(**fields: object) -> Callable:
    known = dict.fromkeys(
        ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl", "only_contains_attribute_certs"), False
    )
    whole = known | {"full_name": None, "relative_name": None, "only_some_reasons": None} | fields
    return lambda builder: builder.add_extension(x509.IssuingDistributionPoint(**whole), critical=True)  # type: ignore[arg-type]


@pytest.mark.security
@pytest.mark.parametrize(
    ("change", "want"),
    [
        (point(only_contains_user_certs=True), False),
        (point(only_contains_ca_certs=True), None),
        (point(only_contains_attribute_certs=True), None),
        (point(indirect_crl=True), None),
        (point(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})), None),
        (point(full_name=[x509.UniformResourceIdentifier(LIST)]), False),
        (point(full_name=[x509.UniformResourceIdentifier("http://ca.test/other.crl")]), None),
        (lambda b: b.add_extension(x509.DeltaCRLIndicator(1), critical=True), None),
        (lambda b: b.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), critical=True), None),
        (lambda b: b.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), critical=False), False),
    ],
)
def test_c18_a_list_about_others_does_not_say_good(change, want):
    """RFC 5280 section 6.3.3: another part of a list, replayed, would not name the certificate."""
    assert listed(crl(change=change), LEAF_PAIR) is want


def test_c18_only_lists_over_plain_http_of_the_issuer_itself_are_fetched():
    points = [
        x509.DistributionPoint([x509.UniformResourceIdentifier("ldap://ca.test/cn=x")], None, None, None),
        x509.DistributionPoint([x509.UniformResourceIdentifier(LIST)], None, None, None),
        x509.DistributionPoint(
            [x509.UniformResourceIdentifier("http://x.test/")], None, None, [x509.DirectoryName(ISSUER.name)]
        ),
    ]
    leaf = forge.issue(LEAF.but(extra=((x509.CRLDistributionPoints(points), False),)), ISSUER)
    assert crl_answer.addresses(leaf.certificate) == (LIST,)
    assert crl_answer.addresses(forge.issue(LEAF, ISSUER).certificate) == ()


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(0, 400))
def test_c18_no_bytes_crash_a_list_or_a_response(data, at):
    whole = crl(SERIAL)
    for mutated in (data, whole[:at] + data + whole[at + len(data) :]):
        if mutated != whole:
            assert listed(mutated, LEAF_PAIR) is not False or data in whole
        assert ocsp_answer.answer(mutated, LEAF_PAIR.certificate, ISSUER.certificate, NOW.timestamp()) is None


# -- responses


def test_c18_a_delegated_responder_must_be_current():
    template = LEAF.but(common_name="Responder", names=None, extended=[ExtendedKeyUsageOID.OCSP_SIGNING], key=forge.ec_key(40))
    for start, end, counts in ((-10, 10, True), (-10, -1, False), (1, 10, False)):
        validity = {"start": NOW + timedelta(days=start), "end": NOW + timedelta(days=end)}
        data = response(LEAF_PAIR, ISSUER, REVOKED, signer=forge.issue(template.but(**validity), ISSUER), delegated=True)
        found = ocsp_answer.answer(data, LEAF_PAIR.certificate, ISSUER.certificate, NOW.timestamp())
        assert (found is not None) is counts


def test_c18_the_question_names_certificate_and_issuer():
    asked = ocsp.load_der_ocsp_request(ocsp_answer.question(LEAF_PAIR.certificate, ISSUER.certificate))
    assert asked.serial_number == SERIAL
    assert isinstance(asked.hash_algorithm, SHA1)


# -- the whole


@dataclasses.dataclass
class Web:
    """What is at the addresses; ``asked`` in order. A missing answer is an error."""

    answers: dict[str, bytes]
    asked: list[str] = dataclasses.field(default_factory=list)

    async def fetch(self, url: str, body: bytes, kind: str) -> bytes:
        self.asked.append(url)
        assert bool(body) == bool(kind) == (url == URL)
        if url not in self.answers:
            raise OSError("nothing there")
        return self.answers[url]


BOTH = forge.issue(LONG.but(extra=(ocsp_at(URL), crl_at(LIST))), ISSUER)
CHAIN = [BOTH.certificate, ISSUER.certificate, forge.world().root.certificate]
LONG_PATIENCE = Patience(1e6, ManualClock())
MISSING, GONE = Reason.UPSTREAM_CERT_REVOCATION_UNKNOWN, Reason.UPSTREAM_CERT_REVOKED


async def found(modes: Modes, web: Web, chain=CHAIN, staple: bytes = b"") -> tuple[Reason, str]:
    finding = await Revocation(modes, ManualClock(NOW.timestamp())).check(chain, staple, web.fetch, LONG_PATIENCE)
    return (finding.verdict.reason if finding.verdict else Reason.OK), finding.text


ALL_SOFT = Modes(ocsp="soft", crl="soft", intermediates=False)


@pytest.mark.parametrize(
    ("answers", "asked", "want"),
    [
        ({URL: response(BOTH, ISSUER, GOOD)}, [URL], (Reason.OK, "good (ocsp)")),
        ({URL: response(BOTH, ISSUER, REVOKED)}, [URL], (GONE, "revoked (ocsp)")),
        ({URL: response(BOTH, ISSUER, UNKNOWN), LIST: crl()}, [URL, LIST], (Reason.OK, "good (crl)")),
        ({LIST: crl(SERIAL)}, [URL, LIST], (GONE, "revoked (crl)")),
        ({URL: b"junk", LIST: b"junk"}, [URL, LIST], (Reason.OK, "unknown (no responder and no list had an answer)")),
    ],
)
async def test_c18_ocsp_is_asked_first_and_the_list_when_it_has_no_answer(answers, asked, want):
    web = Web(answers)
    assert await found(ALL_SOFT, web) == want
    assert web.asked == asked


@pytest.mark.parametrize(
    ("modes", "want"),
    [
        (Modes(ocsp="soft"), Reason.OK),
        (Modes(ocsp="hard"), MISSING),
        (Modes(ocsp="soft", crl="hard"), MISSING),
        (Modes(staple="hard"), MISSING),
        (Modes(), Reason.OK),
    ],
)
async def test_c18_without_any_answer_hard_refuses(modes, want):
    assert (await found(dataclasses.replace(modes, intermediates=False), Web({})))[0] is want


async def test_c18_a_staple_answers_for_the_leaf_alone():
    good, web = response(BOTH, ISSUER, GOOD), Web({})
    assert await found(Modes(staple="hard"), web, staple=good) == (Reason.OK, "good (staple)")
    assert await found(Modes(ocsp="hard", intermediates=False), web, staple=good) == (Reason.OK, "good (staple)")
    assert (await found(Modes(ocsp="hard"), web, staple=good))[0] is MISSING
    assert (await found(Modes(staple="hard"), web, staple=response(LEAF_PAIR, ISSUER, UNKNOWN)))[0] is MISSING


async def test_c18_an_intermediate_is_asked_about_too():
    middle = forge.issue(CA.but(key=forge.ec_key(61), serial=0x88, extra=(crl_at(LIST),)), forge.world().root)
    chain = [forge.issue(LONG, middle).certificate, middle.certificate, forge.world().root.certificate]
    web = Web({LIST: crl(0x88, issuer=forge.world().root)})
    assert (await found(Modes(crl="soft"), web, chain))[0] is GONE
    assert (await found(Modes(crl="soft", intermediates=False), web, chain))[0] is Reason.OK


async def test_c18_short_lived_certificates_are_not_asked_about():
    leaf = forge.issue(LONG.but(start=NOW - timedelta(days=1), end=NOW + timedelta(days=6), extra=(crl_at(LIST),)), ISSUER)
    web = Web({})
    assert await found(Modes(crl="hard", intermediates=False), web, [leaf.certificate, *CHAIN[1:]]) == (
        Reason.OK,
        "good (short-lived)",
    )
    assert not web.asked


async def test_c18_a_leaf_that_is_trusted_itself_has_nobody_to_revoke_it():
    assert await found(Modes(crl="hard"), Web({}), CHAIN[:1]) == (Reason.OK, "")


async def test_c18_answers_and_their_absence_are_remembered_for_a_time():
    clock = ManualClock(NOW.timestamp())
    revocation = Revocation(dataclasses.replace(ALL_SOFT, max_age=600.0, failure_ttl=60.0), clock)
    web = Web({URL: response(BOTH, ISSUER, GOOD)})
    for seconds, asked in ((0, 1), (599, 1), (1, 2)):
        clock.advance(seconds)
        await revocation.check(CHAIN, b"", web.fetch, LONG_PATIENCE)
        assert len(web.asked) == asked
    web.answers.clear()
    clock.advance(600)
    for seconds, asked in ((0, 4), (59, 4), (1, 6)):
        clock.advance(seconds)
        await revocation.check(CHAIN, b"", web.fetch, LONG_PATIENCE)
        assert len(web.asked) == asked
    assert revocation.counters == {("ocsp", "good"): 2, ("ocsp", "unknown"): 2, ("crl", "unknown"): 2}


async def test_c18_an_answer_is_never_kept_longer_than_it_says():
    clock = ManualClock(NOW.timestamp())
    revocation = Revocation(ALL_SOFT, clock)
    web = Web({URL: response(BOTH, ISSUER, GOOD, next_update=NOW + timedelta(minutes=5))})
    await revocation.check(CHAIN, b"", web.fetch, LONG_PATIENCE)
    clock.advance(301)
    finding = await revocation.check(CHAIN, b"", web.fetch, LONG_PATIENCE)
    assert finding.text.startswith("unknown")


@pytest.mark.security
@pytest.mark.parametrize(("modes", "want"), [(Modes(crl="soft"), None), (Modes(crl="hard"), MISSING)])
async def test_c18_whoever_waits_has_a_patience_of_its_own(modes, want):
    """What the first gives up goes on for the second, who joined it and has more time, and then says the truth to all."""
    revocation = Revocation(modes, ManualClock(NOW.timestamp()))
    begun, gate = asyncio.Event(), asyncio.Event()

    async def slow(url: str, body: bytes, kind: str) -> bytes:
        begun.set()
        await gate.wait()
        return crl(SERIAL)

    async def ask(seconds: float) -> Finding:
        return await revocation.check([LEAF_PAIR.certificate, ISSUER.certificate], b"", slow, Patience(seconds, SystemClock()))

    first = asyncio.create_task(ask(0.05))
    await begun.wait()
    second = asyncio.create_task(ask(60.0))
    given_up = await first
    assert (given_up.verdict.reason if given_up.verdict else None) is want
    assert given_up.text == "unknown (no answer in time)"
    gate.set()
    assert (await second).text == "revoked (crl)"
    assert (await ask(0.0)).text == "revoked (crl)", "what is known needs no time"


@pytest.mark.security
async def test_c18_an_intermediate_that_nobody_answers_for_hides_no_revoked_leaf():
    middle = forge.issue(CA.but(key=forge.ec_key(61), serial=0x88, extra=(crl_at(LIST),)), forge.world().root)
    leaf = forge.issue(LONG.but(extra=(ocsp_at(URL),)), middle)

    async def fetch(url: str, body: bytes, kind: str) -> bytes:
        if url == LIST:
            await asyncio.Event().wait()
        return response(leaf, middle, REVOKED)

    revocation = Revocation(Modes(ocsp="soft", crl="soft"), ManualClock(NOW.timestamp()))
    chain = [leaf.certificate, middle.certificate, forge.world().root.certificate]
    finding = await revocation.check(chain, b"", fetch, Patience(0.3, SystemClock()))
    assert (finding.verdict.reason, finding.text) == (GONE, "revoked (ocsp)")
