"""Where leaves are made (TLS-03, TLS-08)."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509

from appliance.domain.errors import InternalError
from certs import mint as mint_module
from certs.mint import Mint, Seat
from certs.profile import LeafProfile
from certs.scope import Scope
from certs.shared_keys import LEAVES, LIFE
from tests.certs import forge_origin as forge
from tests.certs.test_cache import new_authority, profile


@pytest.fixture
def seat() -> Seat:
    return Seat(new_authority())


async def test_tls_08_only_the_authority_that_is_asked_for_signs(clock, seat):
    other = Seat(new_authority("other"))
    mint = Mint([seat, other], clock)
    for each in (seat, other):
        issued = await mint.leaf(Scope("a", each.authority.fingerprint), profile("a.test"))
        assert issued.certificate.issuer == each.authority.certificate.subject
        assert issued.fresh
    with pytest.raises(InternalError, match="no CA with the fingerprint 0000"):
        await mint.leaf(Scope("a", "00" * 32), profile("a.test"))


async def test_an_rsa_key_is_made_off_the_loop(clock, seat, monkeypatch):
    makers = []
    original = mint_module.new_rsa_key
    monkeypatch.setattr(mint_module, "new_rsa_key", lambda: (makers.append(threading.get_ident()), original())[1])
    with ThreadPoolExecutor(1) as executor:
        await Mint([seat], clock, executor=executor).leaf(
            Scope("a", seat.authority.fingerprint), profile("a.test", ecdsa=False)
        )
    assert makers
    assert threading.get_ident() not in makers


@pytest.mark.security
async def test_rsa_keys_are_made_one_at_a_time_while_ecdsa_goes_on(clock, seat, monkeypatch):
    """A client that wants RSA for ever new names must not take every core, nor hold up the others."""
    running, most, gate = 0, 0, threading.Event()

    def slow_key():
        nonlocal running, most
        running += 1
        most = max(most, running)
        gate.wait(10)
        running -= 1
        return forge.rsa_key(2048)

    monkeypatch.setattr(mint_module, "new_rsa_key", slow_key)
    mint, authority = Mint([seat], clock), Scope("a", seat.authority.fingerprint)
    waiting = [asyncio.create_task(mint.leaf(authority, profile(f"{name}.test", ecdsa=False))) for name in "abcd"]
    await asyncio.sleep(0.05)
    assert await mint.leaf(authority, profile("a.test"))
    assert not any(task.done() for task in waiting)
    gate.set()
    assert len({issued.certificate.serial_number for issued in await asyncio.gather(*waiting)}) == 4
    assert most == 1


@pytest.mark.security
async def test_tls_03_an_rsa_key_is_shared_by_a_few_leaves_and_never_by_two_cas_or_tenants(clock, seat):
    other = Seat(new_authority("other"))
    mint = Mint([seat, other], clock)

    async def key(which: Seat, name: str, tenant: str = "a") -> int:
        issued = await mint.leaf(Scope(tenant, which.authority.fingerprint), profile(f"{name}.test", ecdsa=False))
        return issued.certificate.public_key().public_numbers().n

    keys = [await key(seat, f"n{number}") for number in range(LEAVES + 1)]
    assert len(set(keys[:LEAVES])) == 1
    assert keys[LEAVES] != keys[0]
    assert await key(other, "a") not in keys
    assert await key(seat, "n0", "b") not in keys
    clock.advance(LIFE)
    assert await key(seat, "late") not in keys


@pytest.mark.security
async def test_tls_08_what_could_sign_never_leaves(clock, seat, monkeypatch):
    """Even if a profile came to ask for it: the certificate is looked at before it is given to anybody."""
    monkeypatch.setattr(mint_module, "sign_leaf", lambda *_: seat.authority.certificate)
    with pytest.raises(InternalError, match="rights of a CA"):
        await Mint([seat], clock).leaf(Scope("a", seat.authority.fingerprint), LeafProfile.for_host("a.test"))


async def test_tls_08_a_leaf_cannot_sign(clock, seat):
    issued = await Mint([seat], clock).leaf(Scope("a", seat.authority.fingerprint), LeafProfile.for_host("a.test"))
    assert not issued.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
