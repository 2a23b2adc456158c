from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.audit.cursor import Cursor
from appliance.audit.segment import directory_size, is_released, read_chunk, segment_size, segments
from appliance.audit.sinks.store import parse_event


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([b"a", b"\n", b"bb", b"\x00", b"{}"]), max_size=30).map(b"".join),
    st.integers(1, 12),
    st.booleans(),
)
def test_any_bytes_in_any_pieces_give_their_whole_lines(tmp_path: Path, data: bytes, size: int, released: bool) -> None:
    path = tmp_path / "x.seg"
    path.write_bytes(data)
    found: list[bytes] = []
    offset = torn = 0
    while (chunk := read_chunk(path, offset, released, size)).end > offset:
        found += chunk.lines
        offset, torn = chunk.end, chunk.torn
    *whole, tail = data.split(b"\n")
    assert found == [line for line in whole if line]
    assert torn == (len(tail) if released else 0)
    assert offset == len(data) - (0 if released else len(tail))


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_any_line_is_an_event_or_none(line: bytes) -> None:
    parsed = parse_event(line)
    assert parsed is None or parsed[0]["id"]


def test_what_is_gone_is_empty(tmp_path: Path) -> None:
    assert segments(tmp_path / "nowhere") == []
    assert directory_size(tmp_path / "nowhere") == 0
    assert segment_size(tmp_path / "nowhere.seg") == 0
    assert is_released(tmp_path / "nowhere.seg")


def test_a_cursor_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    cursor = Cursor.load(tmp_path / "cursor.json")
    assert (cursor.offsets, cursor.state) == ({}, {})
    cursor.offsets = {"b.seg": 7}
    cursor.state = {"inode": 1}
    cursor.save()
    again = Cursor.load(tmp_path / "cursor.json")
    assert (again.offsets, again.state) == ({"b.seg": 7}, {"inode": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["cursor.json"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"{}", b"[]", b'{"offsets": 1, "state": {}}', b'{"offsets": {"a": "x"}, "state": {}}']),
    )
)
def test_a_damaged_cursor_is_an_error_that_the_feed_expects(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cursor.json"
    path.write_bytes(content)
    with pytest.raises(ValueError):
        Cursor.load(path)
