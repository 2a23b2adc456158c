"""Units found in bodies without an end (C7): the same however they arrive, within limits, and every byte in one of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.messages import Unit
from appliance.engine.units.envelopes import EnvelopeReader
from appliance.engine.units.events import EventReader
from appliance.engine.units.lines import LineReader
from appliance.engine.units.parts import PartReader
from appliance.engine.units.pauses import PauseReader
from tests.appliance.engine.units.fuzzing import CORPUS, READERS, check, cut, units

_WORDS = {
    "events": [
        b"data:",
        b"data: ",
        b"data",
        b"d",
        b"\n",
        b"\r",
        b"\r\n",
        b":",
        b"id: 7",
        b"event: x",
        b"\xef\xbb\xbf",
        b"x" * 70,
    ],
    "lines": [b"{}", b"\n", b"\r\n", b"\x1e", b'{"a": 1}', b"x" * 70],
    "envelopes": [b"\0\0\0\0\3abc", b"\1\0\0\0\1x", b"\0\0\0\0\0", b"\x80\0\0\0\2hi", b"\0\0\0\1\0", b"x" * 70],
    "parts": [b"--cut", b"\r\n", b"\n", b"--", b"cut", b"Content-Length: 3\r\n", b"\r\n\r\n", b"abc", b"-", b"x" * 70],
    "pauses": [b"abc", b"x" * 70],
}


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_c7_whatever_comes_every_byte_goes_on_once_and_nothing_large_is_held(name: str, data: Any) -> None:
    check(name, b"".join(data.draw(st.lists(st.one_of(st.sampled_from(_WORDS[name]), st.binary(max_size=9)), max_size=20))))


@pytest.mark.parametrize("seed", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_c7_the_seeds_of_the_fuzzer(seed: Any) -> None:
    check(seed.parent.name, seed.read_bytes())


def _events(data: bytes) -> list[tuple[bytes, bytes]]:
    return [(unit.data or b"", unit.beside) for unit in units(EventReader(1000), cut(data))]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata:b\n\n", [(b"a", b""), (b"b", b"")]),
        (b"data: a\ndata:  b\ndata\n\n", [(b"a\n b\n", b"")]),
        (b"id: 1\nevent: x\ndata: a\n: note\nretry: 5\n\n", [(b"a", b"id: 1\nevent: x\n: note\nretry: 5\n")]),
        (b"data: a\r\rdata: b\r\n\r\ndata: c\n\r\n", [(b"a", b""), (b"b", b""), (b"c", b"")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"a", b"")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [(b"", b"\xef\xbb\xbfdata: a\n")]),
        (b"database: a\nDATA: b\n data: c\n\n", [(b"", b"database: a\nDATA: b\n data: c\n")]),
        (b"\n\n", [(b"", b""), (b"", b"")]),
        (b"data: never ended", [(b"never ended", b"")]),
    ],
)
def test_c7_events_are_what_a_page_gets(stream: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    """WHATWG HTML 9.2.6: fields, line ends, the byte order mark, comments; names are compared as they are."""
    assert _events(stream) == expected


def _reference(stream: str) -> list[bytes]:
    """By the text of the standard: fields of lines, dispatched at each blank one."""
    found, lines = [], stream.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    data: list[str] = []
    for line in lines[:-1]:
        if not line:
            found += ["\n".join(data).encode()] if data else []
            data = []
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
    return found


@given(st.lists(st.sampled_from(["data: ", "data:", "data", "x", " ", "\n", "\r", "\r\n", ":", "id: 1"])).map("".join))
def test_c7_events_agree_with_the_standard(stream: str) -> None:
    stream += "\n\n"
    found = [
        unit.data for unit in units(EventReader(10_000), cut(stream.encode())) if b"data" in unit.wire and unit.data != b""
    ]
    assert found == [each for each in _reference(stream) if each]


def test_c7_nothing_between_cr_and_lf_ends_no_event() -> None:
    assert [unit.data for unit in units(EventReader(100), [b"data: a\r", b"", b"\ndata: b\n\n"])] == [b"a\nb"]


def test_c7_the_lines_of_an_event_continue_each_other() -> None:
    (unit,) = units(EventReader(100), [b"data: EIC\ndata: AR\n\n"])
    assert (unit.data, unit.flat) == (b"EIC\nAR", b"EICAR")


@given(st.binary(min_size=1, max_size=40).filter(lambda data: not set(data) & {10, 13}), st.integers(0, 60))
def test_c7_where_an_event_is_cut_off_before_its_end_what_it_says_is_not(said: bytes, at: int) -> None:
    """However a packed stream is flushed, the pieces say together what the event says."""
    reader, stream = EventReader(1000), b"data: " + said + b"\n\n"
    found = [*reader.read(stream[:at]), *reader.flush(), *reader.read(stream[at:]), *reader.end()]
    assert b"".join(unit.data or b"" for unit in found) == said
    assert not any(unit.beside for unit in found)


@pytest.mark.parametrize("reader", [EventReader, LineReader, EnvelopeReader, lambda limit: PartReader(b"cut", limit)])
@pytest.mark.parametrize("more", [0, 1])
def test_lim_04_a_unit_at_the_limit_is_whole_and_one_above_it_is_not(reader: Any, more: int) -> None:
    size = 1000 + more
    made = reader(1000)
    x = b"x" * size
    stream = {
        EventReader: b"data: " + x + b"\n\n",
        LineReader: x[:-1] + b"\n",
        EnvelopeReader: b"\0" + size.to_bytes(4) + x,
    }.get(type(made) if reader in (EventReader, LineReader, EnvelopeReader) else None, b"--cut\r\n\r\n" + x + b"\r\n--cut")  # type: ignore[call-overload]
    if isinstance(made, PartReader):
        stream = b"--cut\r\nContent-Length: %d\r\n\r\n" % size + x
    found = units(made, cut(stream))
    assert found[0].whole is not bool(more)
    assert not any(unit.rest for unit in found) or more


def test_lim_04_what_is_beyond_the_limit_follows_as_it_comes_and_the_next_is_whole_again() -> None:
    reader = EnvelopeReader(10)
    found = [*reader.read(b"\0\0\0\0\x64" + b"x" * 20), *reader.read(b"x" * 80), *reader.read(b"\0\0\0\0\1y")]
    assert [(unit.whole, unit.rest, unit.last) for unit in found] == [
        (False, False, False), (False, True, True), (True, False, True),
    ]  # fmt: skip


def test_lim_04_a_unit_that_finds_no_memory_says_so() -> None:
    for make in READERS.values():
        reader = make(1000)
        list(reader.read(b"--cut\r\n\r\nabc" * 3))
        assert reader.held
        reader.give_up()
        (unit,) = [unit for unit in reader.read(b"d") if not unit.whole]
        assert unit.crowded


def test_c7_lines_that_are_there_together_are_judged_together_within_the_limit() -> None:
    (unit,) = list(LineReader(100).read(b"a\nb\nc\n"))
    assert unit.data == b"a\nb\nc\n"
    assert [unit.data for unit in LineReader(4).read(b"a\nb\nc\nlong line\n")] == [b"a\nb\n", b"c\n", b"long line\n"]


@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=6))
def test_c7_messages_of_grpc(messages: list[tuple[bytes, bool]]) -> None:
    stream = b"".join(bytes([packed]) + len(data).to_bytes(4) + data for data, packed in messages)
    found = units(EnvelopeReader(1000), cut(stream))
    assert [(unit.data, unit.packed) for unit in found] == messages


def _parts(stream: bytes, boundary: bytes = b"cut") -> list[tuple[bytes, bytes]]:
    return [(unit.data or b"", unit.beside) for unit in units(PartReader(boundary, 1000), cut(stream))]


@pytest.mark.parametrize(
    ("stream", "boundary", "expected"),
    [
        (b"--cut\r\nA: b\r\n\r\none\r\n--cut\r\n\r\ntwo\r\n--cut--\r\n", b"cut", [b"one\r\n", b"two\r\n", b""]),
        (b"--cut\nContent-Length: 3\n\none\n--cut\ncontent-length: 3\n\ntwo", b"cut", [b"one", b"", b"two"]),
        (b"before\r\n--cut\r\n\r\none--cut\r\n", b"cut", [b"before\r\n", b"one--cut\r\n"]),
        (b"--cut\r\n\r\none\r\n", b"--cut", [b"one\r\n"]),
        (b"----cut\r\n\r\none\r\n", b"--cut", [b"one\r\n"]),
    ],
)
def test_c7_parts_that_replace_each_other(stream: bytes, boundary: bytes, expected: list[bytes]) -> None:
    """A delimiter begins a line; a part ends where its length says, or with the next delimiter."""
    assert [data for data, _ in _parts(stream, boundary)] == expected


def test_c7_a_part_that_says_how_long_it_is_does_not_wait_for_the_next() -> None:
    found = list(PartReader(b"cut", 1000).read(b"--cut\r\nContent-Length: 3\r\n\r\none"))
    assert [(unit.data, unit.whole, unit.last) for unit in found] == [(b"one", True, True)]


def test_c7_what_came_before_a_pause_is_a_unit() -> None:
    reader = PauseReader(1000)
    assert list(reader.read(b"abc")) == []
    assert [(unit.data, unit.whole) for unit in reader.flush()] == [(b"abc", True)]
    assert list(reader.flush()) == []
    assert [unit.data for unit in PauseReader(4).read(b"123456789")] == [b"1234", b"5678"]
    assert isinstance(next(iter(PauseReader(1).read(b"1"))), Unit)
