"""The snapshot that workers read: whole, or nothing."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.exclusion import Kind, Learned, from_snapshot, to_snapshot

_TEXT = st.text(min_size=1, max_size=20)
_ENTRIES = st.builds(
    Learned, _TEXT, _TEXT, _TEXT, st.text(max_size=36), st.sampled_from(Kind), st.text(max_size=30),
    st.floats(0, 1e11), st.integers(0, 10**6),
)  # fmt: skip


@given(st.lists(_ENTRIES, max_size=5))
def test_what_is_written_is_read(entries: list[Learned]) -> None:
    assert from_snapshot(to_snapshot(entries)) == tuple(entries)


@pytest.mark.security
@given(st.binary(max_size=100))
def test_random_octets_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        from_snapshot(data)


@pytest.mark.security
@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_octet_never_crashes(position: int, value: int) -> None:
    data = bytearray(to_snapshot([Learned("x", "a", "h.test", "t13", Kind.PINNED, "r", 1.5, 10)]))
    data[position % len(data)] = value
    with contextlib.suppress(ValueError):
        from_snapshot(bytes(data))


@pytest.mark.security
@pytest.mark.parametrize("row", [[], ["x"], None, 1])
def test_a_row_of_another_shape_refuses_all(row: object) -> None:
    _refused(row)


@pytest.mark.security
@pytest.mark.parametrize(
    ("place", "value"),
    [(0, ""), (1, ""), (2, ""), (2, 7), (3, 0), (4, "other"), (5, None), (6, "1"), (7, -1), (7, True), (7, 1.5)],
)
def test_one_bad_value_refuses_all(place: int, value: object) -> None:
    row: list[object] = ["x", "a", "h", "", "pinned", "", 1.0, 0]
    row[place] = value
    _refused(row)


def _refused(row: object) -> None:
    good = ["x", "a", "h", "", "pinned", "", 1.0, 0]
    with pytest.raises(ValueError):
        from_snapshot(json.dumps({"format": 1, "exclusions": [good, row]}).encode())
    with pytest.raises(ValueError):
        from_snapshot(json.dumps({"format": 2, "exclusions": [good]}).encode())
