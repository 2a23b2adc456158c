"""C13: does this machine's resolver give out HTTPS records, and the little DNS that the question takes."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.root import AppConfig
from appliance.doctor import Finding, Level, resolving
from appliance.doctor.dns import HTTPS, DnsAnswer, DnsError, ask, question, read_answer
from tests.appliance.config.base import BASE, loads
from tests.dns_server import ADDRESS, SERVICE, A, dns_server
from tests.ports import free_port

CONFIG: AppConfig = loads(BASE).config


def found(monkeypatch: pytest.MonkeyPatch, port: int, *servers: str) -> Finding:
    monkeypatch.setattr(resolving, "nameservers", lambda: servers)
    (finding,) = resolving.examine(CONFIG, port)
    return finding


def test_c13_a_resolver_that_gives_them_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with dns_server({A: ADDRESS, HTTPS: SERVICE}) as server:
        finding = found(monkeypatch, server.port, "127.0.0.1")
    assert (finding.level, "gives them out" in finding.detail) == (Level.WARN, True)
    assert "compose/dns/dnsmasq.conf" in finding.hint
    assert server.asked == [(resolving.PROBE, HTTPS)]


def test_c13_a_resolver_that_strips_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with dns_server({A: ADDRESS}) as server:
        finding = found(monkeypatch, server.port, "127.0.0.1")
    assert (finding.level, finding.detail) == (Level.OK, "the resolver 127.0.0.1 strips them")


def test_c13_a_resolver_that_knows_nothing_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with dns_server({}, code=3) as server:
        finding = found(monkeypatch, server.port, "127.0.0.1")
    assert (finding.level, finding.detail.startswith("not known")) == (Level.OK, True)


def test_c13_the_next_resolver_is_asked_and_none_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    with dns_server({A: ADDRESS}) as server:
        assert found(monkeypatch, server.port, "127.0.0.9", "127.0.0.1").level is Level.OK
    for servers in ((), ("127.0.0.9",)):
        finding = found(monkeypatch, free_port(), *servers)
        assert (finding.level, finding.hint != "") == (Level.WARN, True)


@given(st.binary(max_size=200))
def test_anything_is_an_answer_or_a_dns_error(data: bytes) -> None:
    for text in (data, b"\0\7\x80\0" + data):
        with contextlib.suppress(DnsError):
            assert isinstance(read_answer(text, 7), DnsAnswer)


@given(st.integers(0, 65_535), st.lists(st.integers(0, 65_535), max_size=20), st.integers(0, 15), st.data())
def test_what_is_written_is_read_and_what_is_cut_is_not(number: int, types: list[int], code: int, data: st.DataObject) -> None:
    asked = question(number, "a.example.test", HTTPS)
    records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, 3) + b"abc" for kind in types)
    whole = asked[:2] + struct.pack("!5H", 0x8180 | code, 1, len(types), 0, 0) + asked[12:] + records
    assert read_answer(whole, number) == DnsAnswer(code, tuple(types))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DnsError):
        read_answer(whole[:cut], number)


def test_an_answer_to_another_question_is_none() -> None:
    with pytest.raises(DnsError):
        read_answer(question(7, "a.test", A), 7)
    with dns_server({A: ADDRESS}) as server:
        assert ask("127.0.0.1", "a.test", A, 7, port=server.port) == DnsAnswer(0, (A,))
    for name in ("", "a..b", "x" * 64, "ä.test"):
        with pytest.raises(ValueError, match=r"host name|ascii"):
            question(1, name, A)
