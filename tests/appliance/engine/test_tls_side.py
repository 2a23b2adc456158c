"""What one TLS connection of ours knows of octets that are under way (TLS-12)."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.connection import Server
from OpenSSL import SSL

from appliance.domain.facts import ClientFacts
from appliance.domain.notes import ConnNotes
from appliance.engine.tls_side import TlsSide
from tests.appliance.engine.test_inline_tls import _pair, _wire


def side_and_peer(version: int = SSL.TLS1_3_VERSION) -> tuple[TlsSide, SSL.Connection]:
    ours, peer = _pair(version)
    server = Server(address=("example.test", 443))
    return TlsSide(server, ours, ConnNotes(ClientFacts("192.0.2.1", 1, "explicit")), towards_client=False), peer


@pytest.mark.security
@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_tls_12_half_a_record_is_something_under_way(version: int) -> None:
    """OpenSSL takes it in and does not tell: the rest of an answer that nobody has asked for yet would follow."""
    side, peer = side_and_peer(version)
    peer.sendall(b"an answer")
    peer.sendall(b"the next one")
    wire = _wire(peer)
    first = 5 + int.from_bytes(wire[3:5])
    assert side.quiet
    for octet in range(len(wire)):
        side.decrypt(wire[octet : octet + 1])
        assert side.quiet == (octet + 1 in (first, len(wire))), octet


@pytest.mark.security
def test_tls_12_a_handshake_may_end_within_a_record() -> None:
    """As with half a session ticket."""
    side, peer = side_and_peer()
    peer.sendall(b"x")
    wire = _wire(peer)
    assert side.shake(wire[:7]) == (True, "")
    assert not side.quiet
    side.decrypt(wire[7:])
    assert side.quiet


@pytest.mark.security
def test_tls_12_what_could_not_be_decrypted_is_no_rest() -> None:
    """OpenSSL has given the connection up: whoever took it over could not write to it."""
    side, peer = side_and_peer()
    peer.sendall(b"x")
    wire = _wire(peer)
    assert side.decrypt(wire[:-1] + bytes((wire[-1] ^ 1,))) == b""
    side.outgoing()
    assert not side.quiet


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return (data[start:end] for start, end in pairwise(edges))


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5), st.lists(st.integers(0, 10_000), max_size=8))
def test_tls_12_however_whole_records_come_they_are_whole(messages: list[bytes], places: list[int]) -> None:
    side, peer = side_and_peer()
    for message in messages:
        peer.sendall(message)
    wire = _wire(peer)
    for piece in cut(wire, places):
        side.decrypt(piece)
    assert side.quiet
    side.decrypt(wire[:3])
    assert not side.quiet
