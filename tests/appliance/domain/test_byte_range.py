"""Which octets are asked for (RFC 9110 section 14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.byte_range import Unsatisfiable, wanted


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("bytes=0-", (0, 100)), ("bytes=0-0", (0, 1)), ("bytes=10-19", (10, 20)), ("bytes=99-", (99, 100)),
        ("bytes=90-200", (90, 100)), ("bytes=-10", (90, 100)), ("bytes=-200", (0, 100)), (" bytes=5-6 ", (5, 7)),
        ("", None), ("bytes=0-1,5-6", None), ("lines=0-1", None), ("bytes=9-5", None), ("bytes=-", None),
        ("bytes=a-b", None), ("bytes=\u0661-", None), ("bytes=" + "9" * 19 + "-", None),
    ],
)  # fmt: skip
def test_one_range_of_octets(value: str, found: tuple[int, int] | None) -> None:
    assert wanted(value, "", ('"x"',), 100) == found


@pytest.mark.parametrize("value", ["bytes=100-", "bytes=200-300", "bytes=-0"])
def test_a_range_with_no_octet(value: str) -> None:
    with pytest.raises(Unsatisfiable):
        wanted(value, "", ('"x"',), 100)


def test_only_of_the_same_file() -> None:
    assert wanted("bytes=5-", '"x"', ('"x"',), 100) == (5, 100)
    assert wanted("bytes=5-", '"y"', ('"x"',), 100) is None
    assert wanted("bytes=5-", "Sat, 21 Nov 2026 00:00:00 GMT", ('"x"',), 100) is None


@given(st.text(max_size=60) | st.from_regex(r"bytes=[0-9]{0,20}-[0-9]{0,20}", fullmatch=True), st.integers(0, 1 << 40))
def test_whatever_is_asked_lies_within_the_file(value: str, size: int) -> None:
    try:
        found = wanted(value, "", ('"x"',), size)
    except Unsatisfiable:
        return
    assert found is None or 0 <= found[0] < found[1] <= size
