"""The ClientHello parser: real hellos, every split, and bytes that are none."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import ClientError
from appliance.domain.facts import HelloFacts
from appliance.domain.reason import Reason
from appliance.engine.clienthello import looks_like_tls, parse_client_hello
from appliance.engine.recognise import classify

LIMIT = 16_384


def hello(name: str | None = "origin.test", alpn: tuple[str, ...] = ("h2", "http/1.1")) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = name is not None
    context.verify_mode = ssl.CERT_NONE if name is None else ssl.CERT_REQUIRED
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return out.read()


def refragment(data: bytes, size: int) -> bytes:
    """The same handshake message in records of ``size`` bytes."""
    body = data[5:]
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2) + piece for piece in pieces)


def test_facts_of_a_real_hello() -> None:
    facts = parse_client_hello(hello(), LIMIT)
    assert facts is not None
    assert (facts.sni, facts.alpn) == ("origin.test", ("h2", "http/1.1"))
    assert 0x0304 in facts.versions
    assert 0x001D in facts.groups
    assert facts.accepts_ecdsa
    assert facts.ja4.startswith("t13d")
    assert facts.ja4.split("_")[0].endswith("h2")
    assert len(facts.ja3) == 32


def test_no_sni_and_no_alpn() -> None:
    facts = parse_client_hello(hello(None, ()), LIMIT)
    assert facts is not None
    assert (facts.sni, facts.alpn) == ("", ())
    assert facts.ja4.startswith("t13i")


def with_extension(kind: int, content: bytes, name: str | None = "origin.test", after: bytes = b"") -> bytes:
    """The real hello with one more extension, and with bytes after them all."""
    body = hello(name)[5 + 4 :]
    suites = 35 + body[34]
    at = suites + 2 + int.from_bytes(body[suites : suites + 2])
    at += 1 + body[at]
    more = kind.to_bytes(2) + len(content).to_bytes(2) + content
    extensions = body[at + 2 :] + more
    message = body[:at] + len(extensions).to_bytes(2) + extensions + after
    handshake = b"\x01" + len(message).to_bytes(3) + message
    return b"\x16\x03\x01" + len(handshake).to_bytes(2) + handshake


def test_tls_12_the_key_of_the_ticket_that_a_client_shows() -> None:
    name = bytes(range(16))
    identity = (40).to_bytes(2) + name + bytes(24) + bytes(4)
    binders = (33).to_bytes(2) + b"\x20" + bytes(32)
    psk = parse_client_hello(with_extension(41, len(identity).to_bytes(2) + identity + binders), LIMIT)
    assert psk is not None
    assert psk.ticket == name
    plain = parse_client_hello(hello(), LIMIT)
    assert plain is not None
    assert plain.ticket == b""


@pytest.mark.parametrize("content", [b"\0", b"\0\2\0", b"\0\4\0\\9\0\0", b"\xff\xff"])
def test_a_broken_ticket_is_a_broken_hello(content: bytes) -> None:
    with pytest.raises(ClientError):
        parse_client_hello(with_extension(41, content), LIMIT)


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_hello_in_many_records_is_read_whole(size: int) -> None:
    whole = hello()
    assert parse_client_hello(refragment(whole, size), LIMIT) == parse_client_hello(whole, LIMIT)


def test_every_prefix_asks_for_more_and_never_changes_lane() -> None:
    """security: a hello sent byte by byte stays TLS; no prefix of it is taken for another protocol."""
    whole = hello()
    for end in range(1, len(whole)):
        assert classify(whole[:end], LIMIT) is None, end
    assert isinstance(classify(whole, LIMIT), HelloFacts)


def test_size_limit_is_exact() -> None:
    whole = hello()
    size = len(whole) - 9
    assert parse_client_hello(whole, size) is not None
    with pytest.raises(ClientError) as caught:
        parse_client_hello(whole, size - 1)
    assert caught.value.reason is Reason.BAD_CLIENT_HELLO


def test_an_endless_hello_is_cut() -> None:
    record = b"\x16\x03\x01\x00\x01\x01"
    with pytest.raises(ClientError):
        parse_client_hello(record + b"\x16\x03\x01\x40\x00" + b"\0" * 16_384, 1000)


@pytest.mark.parametrize("name", ["127.1", "0x7f.1", "a..b", "exa mple.com", "-x.com"])
def test_an_sni_that_is_no_host_name_is_refused(name: str) -> None:
    whole = hello("x" * len(name) + ".com")
    bad = whole.replace(b"x" * len(name) + b".com", name.encode() + b"\0" * 4)
    with pytest.raises(ClientError):
        parse_client_hello(bad, LIMIT)


@pytest.mark.security
@pytest.mark.parametrize(
    "content",
    [
        b"\0\x0f\0\0\x04a.tt\0\0\x05b.ttt",  # two names
        b"\0\x0f\5\0\x04a.tt\0\0\x05b.ttt",  # one of another type before it
        b"\0\7\5\0\4a.tt",
        b"\0\7\0\0\4a.ttXX",  # bytes after the list
        b"\0\3\0\0\0",
        b"\0\0",
        b"",
    ],
)
def test_c8_a_server_name_that_could_be_read_in_two_ways_is_refused(content: bytes) -> None:
    one = parse_client_hello(with_extension(0, b"\0\7\0\0\4a.tt", name=None), LIMIT)
    assert one is not None
    assert one.sni == "a.tt"
    with pytest.raises(ClientError):
        parse_client_hello(with_extension(0, content, name=None), LIMIT)


@pytest.mark.security
def test_bytes_after_the_extensions_are_refused() -> None:
    with pytest.raises(ClientError, match="after the extensions"):
        parse_client_hello(with_extension(0x4444, b"", after=b"x"), LIMIT)


@given(st.binary(max_size=600))
def test_random_bytes_never_raise_anything_else(data: bytes) -> None:
    try:
        found = parse_client_hello(data, LIMIT)
    except ClientError as error:
        assert error.reason is Reason.BAD_CLIENT_HELLO
    else:
        assert found is None or isinstance(found, HelloFacts)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_flipped_byte_never_crashes(position: int, value: int) -> None:
    data = bytearray(hello())
    data[position % len(data)] = value
    try:
        parse_client_hello(bytes(data), LIMIT)
    except ClientError as error:
        assert error.reason is Reason.BAD_CLIENT_HELLO


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", True), (b"\x16", True), (b"\x16\x03", True), (b"\x16\x03\x01", True), (b"\x16\x02\x01", False), (b"GET", False)],
)
def test_looks_like_tls(data: bytes, expected: bool) -> None:
    assert looks_like_tls(data) is expected


@pytest.mark.parametrize(
    ("data", "lane"),
    [
        (b"G", None),
        (b"GET", None),
        (b"GET ", "http"),
        (b"OPTIONS * HTTP/1.1", "http"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "unknown"),
        (b"\x00\x01", "unknown"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "unknown"),
        (b"PRI * HT", None),
        (b"A" * 40, "unknown"),
    ],
)
def test_aud_01_lanes_by_first_bytes(data: bytes, lane: str | None) -> None:
    assert classify(data, LIMIT) == lane
