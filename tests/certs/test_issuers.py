"""C11: chains that servers did not send whole."""

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock, SystemClock
from appliance.domain.reason import Reason
from certs.issuers import FAILURE_TTL, MAX_BYTES, MAX_STEPS, TTL, Issuers, parse
from certs.patience import Patience
from certs.trust import UpstreamTrust
from certs.verdict import Verdict, from_code
from tests.certs import forge_origin as forge
from tests.certs.cases import pem
from tests.certs.forge_origin import CA, LEAF, NOW, Pair
from tests.tlslab.revocation import issuer_at

URL = "http://ca.test/i.cer"


class Web:
    def __init__(self, **answers: bytes) -> None:
        self.answers = {f"http://ca.test/{name}.cer": data for name, data in answers.items()}
        self.asked: list[str] = []

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.answers:
            raise OSError("nothing there")
        return self.answers[url]


@pytest.fixture(scope="module")
def trust(tmp_path_factory) -> UpstreamTrust:
    file: Path = tmp_path_factory.mktemp("roots") / "roots.pem"
    file.write_bytes(pem(forge.world().root))
    return UpstreamTrust([file], False, clock=ManualClock(NOW.timestamp()))


def at(name: str):
    return (issuer_at(f"http://ca.test/{name}.cer"),)


def gap(pair: Pair) -> Verdict:
    return from_code(20, 0, pair.certificate)


async def completed(trust: UpstreamTrust, leaf: Pair, web: Web, issuers: Issuers | None = None, host: str = "origin.test"):
    found = issuers or Issuers(ManualClock(0.0))
    return await found.complete(trust, host, [leaf.certificate], gap(leaf), web.fetch, Patience(60.0, ManualClock()))


FORMS = {
    "DER": forge.world().intermediate.der,
    "PEM": forge.world().intermediate.pem,
    "PKCS 7": pkcs7.serialize_certificates([forge.world().intermediate.certificate], Encoding.DER),
    "PKCS 7 in PEM": pkcs7.serialize_certificates([forge.world().intermediate.certificate], Encoding.PEM),
}


@pytest.mark.parametrize("form", FORMS)
async def test_c11_an_intermediate_is_found_in_each_form(trust, form):
    leaf = forge.issue(LEAF.but(extra=at("i")), forge.world().intermediate)
    verdict, chain = await completed(trust, leaf, Web(i=FORMS[form]))
    assert verdict.reason is Reason.OK
    assert chain == [leaf.certificate, forge.world().intermediate.certificate, forge.world().root.certificate]


def tower(height: int) -> tuple[Pair, Web]:
    """A leaf under so many intermediates, each of which says where the next one is."""
    issuer, answers = forge.world().root, {}
    for step in range(height):
        extra = at(f"s{step - 1}") if step else ()
        issuer = forge.issue(CA.but(common_name=f"Step {step}", key=forge.ec_key(70 + step), extra=extra), issuer)
        answers[f"s{step}"] = issuer.der
    return forge.issue(LEAF.but(extra=at(f"s{height - 1}")), issuer), Web(**answers)


@pytest.mark.parametrize(("height", "want"), [(MAX_STEPS, Reason.OK), (MAX_STEPS + 1, Reason.UPSTREAM_CERT_UNTRUSTED)])
async def test_c11_a_few_steps_are_climbed(trust, height, want):
    leaf, web = tower(height)
    issuers = Issuers(ManualClock(0.0))
    verdict, _ = await completed(trust, leaf, web, issuers)
    assert verdict.reason is want
    assert len(web.asked) == MAX_STEPS
    assert issuers.counters == {"completed" if want is Reason.OK else "failed": 1}


@pytest.mark.security
async def test_c11_what_is_fetched_is_verified_like_everything_else(trust):
    world = forge.world()
    expired = forge.issue(CA.but(end=NOW - forge.timedelta(days=1)), world.root)
    for issuer, host, want in (
        (world.stranger, "origin.test", Reason.UPSTREAM_CERT_UNTRUSTED),
        (expired, "origin.test", Reason.UPSTREAM_CERT_EXPIRED),
        (world.intermediate, "other.test", Reason.UPSTREAM_CERT_WRONG_HOST),
        (forge.issue(CA.but(ca=False), world.root), "origin.test", Reason.UPSTREAM_CERT_ISSUER_NOT_CA),
    ):
        leaf = forge.issue(LEAF.but(extra=at("i")), issuer)
        verdict, chain = await completed(trust, leaf, Web(i=issuer.der), host=host)
        assert (verdict.reason, chain) == (want, [])


@pytest.mark.parametrize("data", [None, b"", b"junk", forge.world().root.der, b"x" * (MAX_BYTES + 1)])
async def test_c11_without_the_issuer_the_chain_stays_incomplete(trust, data):
    leaf = forge.issue(LEAF.but(extra=at("i")), forge.world().intermediate)
    verdict, chain = await completed(trust, leaf, Web() if data is None else Web(i=data))
    assert (verdict.reason, chain) == (Reason.UPSTREAM_CERT_INCOMPLETE, [])


async def test_c11_an_issuer_that_signs_itself_ends_the_search(trust):
    """A stranger's root that says that it is its own issuer, at the same address."""
    loop = forge.issue(CA.but(common_name="Loop", key=forge.ec_key(80), extra=at("i")), None)
    web = Web(i=loop.der)
    verdict, _ = await completed(trust, forge.issue(LEAF.but(extra=at("i")), loop), web)
    assert verdict.reason is Reason.UPSTREAM_CERT_UNTRUSTED
    assert len(web.asked) == 1


async def test_c11_issuers_and_their_absence_are_remembered(trust):
    clock = ManualClock(0.0)
    issuers, leaf = Issuers(clock), forge.issue(LEAF.but(extra=at("i")), forge.world().intermediate)
    web = Web(i=forge.world().intermediate.der)
    for seconds, asked in ((0, 1), (TTL - 1, 1), (1, 2)):
        clock.advance(seconds)
        await completed(trust, leaf, web, issuers)
        assert len(web.asked) == asked
    web.answers.clear()
    clock.advance(TTL)
    for seconds, asked in ((0, 3), (FAILURE_TTL - 1, 3), (1, 4)):
        clock.advance(seconds)
        await completed(trust, leaf, web, issuers)
        assert len(web.asked) == asked


@pytest.mark.security
async def test_c11_whoever_waits_has_a_patience_of_its_own(trust):
    """A server may name a slow address of its own first, and then one that others need: what the first gives up goes on
    for the second, who joined it and has more time; and is remembered."""
    issuers, leaf = Issuers(ManualClock(0.0)), forge.issue(LEAF.but(extra=at("i")), forge.world().intermediate)
    begun, gate, asked = asyncio.Event(), asyncio.Event(), 0

    async def slow(url: str) -> bytes:
        nonlocal asked
        asked += 1
        begun.set()
        await gate.wait()
        return forge.world().intermediate.der

    async def ask(seconds: float) -> Reason:
        patience = Patience(seconds, SystemClock())
        return (await issuers.complete(trust, "origin.test", [leaf.certificate], gap(leaf), slow, patience))[0].reason

    first = asyncio.create_task(ask(0.05))
    await begun.wait()
    second = asyncio.create_task(ask(60.0))
    assert await first is Reason.UPSTREAM_CERT_INCOMPLETE
    gate.set()
    assert await second is Reason.OK
    assert await ask(0.0) is Reason.OK, "what is known needs no time"
    assert asked == 1


@given(st.binary(max_size=400), st.integers(0, 500))
def test_c11_no_bytes_crash_the_parser(data, at):
    whole = forge.world().intermediate.der
    parse(data)
    parse(whole[:at] + data + whole[at + len(data) :])


@pytest.mark.security
def test_c11_a_version_that_does_not_exist_is_no_certificate() -> None:
    whole = forge.issue(LEAF, None).certificate.public_bytes(Encoding.DER)
    at = whole.index(b"\xa0\x03\x02\x01\x02") + 4
    assert parse(whole)
    assert parse(whole[:at] + b"\x07" + whole[at + 1 :]) == ()
