"""Destinations have one normal form; ambiguous spellings are none."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.target import Target, normalise_host, parse_authority, parse_ip, parse_port


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("[::ffff:10.0.0.1]", "10.0.0.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("_dmarc.example.com", "_dmarc.example.com"),
    ],
)
def test_ten_03_one_normal_form(text: str, normal: str) -> None:
    assert normalise_host(text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "a..b", "-a.com", "a-.com", "a b", "a/b", "a@b", "a:80", "127.1", "2130706433", "0x7f000001", "0177.0.0.1",
        "127.0.0.01", "1.2.3", "1.2.3.4.5", "0x7f.0.0.1", "[127.0.0.1]", "[::1", "::1]", "fe80::1%eth0", "[fe80::1%25eth0]",
        "a" * 64 + ".com", "a." * 127 + "com", "exa\x00mple.com", "exa\nmple.com", "*.example.com", "example.com:80",
    ],
)  # fmt: skip
def test_security_spellings_that_others_read_differently_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        normalise_host(text)


@given(st.text(max_size=80))
def test_normalising_twice_changes_nothing(text: str) -> None:
    try:
        once = normalise_host(text)
    except ValueError:
        return
    assert normalise_host(once) == once
    assert once == once.lower()
    assert once.isascii()
    assert not set(once) & set("/@?#[]% \r\n\0")


@given(st.ip_addresses())
def test_every_address_is_its_canonical_text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    host = normalise_host(str(address))
    assert parse_ip(host) in (address, getattr(address, "ipv4_mapped", None))


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("example.com:443", Target("example.com", 443)),
        ("[::1]:8080", Target("::1", 8080)),
        ("example.com", Target("example.com", 80)),
        ("[::1]", Target("::1", 80)),
    ],
)
def test_authorities(text: str, target: Target) -> None:
    assert parse_authority(text, 80) == target
    assert parse_authority(str(target)) == target


@pytest.mark.parametrize(
    "text", ["user@example.com", "example.com:", "example.com:0", "example.com:65536", "example.com:+1", "::1:80", "[::1]x"]
)
def test_bad_authorities(text: str) -> None:
    with pytest.raises(ValueError):
        parse_authority(text, 80)


def test_a_port_is_needed_without_a_default() -> None:
    with pytest.raises(ValueError, match="no port"):
        parse_authority("example.com")


@given(st.text(max_size=7))
def test_ports(text: str) -> None:
    try:
        port = parse_port(text)
    except ValueError:
        assert not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536)
    else:
        assert 0 < port < 65536
        assert int(text) == port
