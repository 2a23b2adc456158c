"""C13: alternative services that lead through us, and all others."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.alt_svc import MAX_LENGTH, keep_inspected


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ('h3=":443"; ma=86400', ""),
        ('h3=":443"; ma=86400, h3-29=":443", h2=":443"; ma=60', 'h2=":443"; ma=60'),
        ('h2="other.test:443"', ""),
        ('h2="a.test:443", h2=":8443", http%2F1.1=":443"; persist=1', 'h2="a.test:443", http%2F1.1=":443"; persist=1'),
        ('h2="A.TEST:443"', 'h2="A.TEST:443"'),
        ("clear", "clear"),
        (" clear ", "clear"),
        ('clear, h3=":443"', ""),
        ('h3=":443"; v="a,b", h2=":443"', 'h2=":443"'),
        ("h2=:443", ""),
        ('h2=":443', ""),
        ('h2=":443" x, h2=":443"', ""),
        ('h2=""', ""),
        ("", ""),
    ],
)
def test_c13_only_what_is_inspected_is_kept(value: str, kept: str) -> None:
    assert keep_inspected(value, "a.test", 443) == kept


def test_c13_an_ipv6_origin_names_itself() -> None:
    assert keep_inspected('h2="[2001:db8::1]:443"', "2001:db8::1", 443) == 'h2="[2001:db8::1]:443"'


def test_c13_a_value_has_a_limit() -> None:
    alternative = 'h2=":443"'
    longest = alternative + " " * (MAX_LENGTH - len(alternative))
    assert keep_inspected(longest, "a.test", 443) == alternative
    assert keep_inspected(longest + " ", "a.test", 443) == ""


@given(st.text(alphabet='h23=:4";,\\ \t%Fclear.x', max_size=80))
def test_c13_nothing_but_tcp_to_the_same_place_gets_through(value: str) -> None:
    kept = keep_inspected(value, "a.test", 443)
    assert kept in ("", "clear") or all(
        re.match(r'(h2|http%2F1\.1)="(a\.test|):443"', each, re.IGNORECASE) for each in re.split(r', (?=[^"]*=")', kept)
    )
    assert "h3=" not in kept
