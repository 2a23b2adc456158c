"""What services say about threats, and what of it may be recorded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from icap.client.address import ServiceAddress
from icap.client.breaker import Breaker
from icap.client.identity import identity_fields
from icap.client.message import Identity
from icap.client.threat import MAX_TEXT, Threat, clean_text, noted_headers, read_threat
from icap.protocol import Headers


@pytest.mark.parametrize(
    ("fields", "threat"),
    [
        ((("X-Infection-Found", "Type=0; Resolution=2; Threat=Eicar;"),), Threat("Eicar")),
        ((("x-infection-found", "threat = Win.Test ; resolution = 1"),), Threat("Win.Test", repaired=True)),
        ((("X-Infection-Found", "junk"),), Threat("")),
        ((("X-Infection-Found", "Type=0;"), ("X-Virus-ID", "Eicar")), Threat("Eicar")),
        ((("X-Virus-ID", "Eicar"),), Threat("Eicar")),
        ((("X-Violations-Found", "1\tfile\tEicar\t0\t2"),), Threat("Eicar")),
        ((("X-Violations-Found", "1"),), Threat("")),
        ((("X-Violations-Found", "0"),), None),
        ((("X-Infection-Found", ""),), None),
        ((), None),
    ],
)
def test_icp_13_threats(fields: tuple[tuple[str, str], ...], threat: Threat | None) -> None:
    assert read_threat(Headers(fields)) == threat


def test_noted_headers_carry_no_control_characters() -> None:
    """ICAP-C41"""
    headers = Headers.of(("X-Virus-ID", "a\x1b[31m\tb\x9f"), ("X-Other", "no"))
    assert noted_headers(headers) == (("X-Virus-ID", "a [31m b"),)


@given(st.text(max_size=2000))
def test_clean_text_is_short_and_printable(text: str) -> None:
    cleaned = clean_text(text)
    assert len(cleaned) <= MAX_TEXT
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in cleaned)


@given(st.text(max_size=100), st.text(max_size=100), st.text(max_size=100))
def test_icp_07_identity_fields_can_always_be_written(address: str, user: str, tenant: str) -> None:
    """ICAP-C44"""
    identity = Identity(address, user, tenant, tenant, address)
    for line in Headers(identity_fields(identity)).serialise().split("\r\n"):
        assert line.isascii()
        assert line.isprintable()


@given(st.text("icaps:/[]@.h1#? \r\n", max_size=30))
def test_addresses_are_read_or_refused(text: str) -> None:
    try:
        address = ServiceAddress.parse("icap://" + text)
    except ValueError:
        return
    assert ServiceAddress.parse(address.uri) == address
    assert not set(address.uri) & set(" \r\n#")
    assert "@" not in address.authority  # userinfo; a path may have it (RFC 3986 section 3.3)


def test_breaker_at_its_limit() -> None:
    """ICAP-C38"""
    clock = ManualClock()
    breaker = Breaker(3, 10, 5, clock)
    assert [breaker.fail() for _ in range(3)] == [False, False, True]
    assert breaker.suspended
    assert not breaker.fail()
    clock.advance(5)
    assert (breaker.suspended, breaker.on_trial) == (False, True)
    assert breaker.fail()
    clock.advance(5)
    assert breaker.recover()
    assert (breaker.suspended, breaker.on_trial, breaker.recover()) == (False, False, False)


def test_breaker_forgets_what_is_older_than_the_window() -> None:
    clock = ManualClock()
    breaker = Breaker(2, 10, 5, clock)
    assert not breaker.fail()
    clock.advance(11)
    assert not breaker.fail()
    clock.advance(10)
    assert breaker.fail()
