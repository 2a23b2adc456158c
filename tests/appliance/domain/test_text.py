import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain é 漢 text", "plain é 漢 text"),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("\x00\x1b[2J\x7f\x9b", "\\x00\\x1b[2J\\x7f\\x9b"),
        ("\u202eab\u2028", "\\u202eab\\u2028"),
        ("\ud800", "\\ud800"),
    ],
    ids=["empty", "plain", "crlf", "controls", "format", "surrogate"],
)
def test_what_does_not_print_is_written_out(text: str, shown: str) -> None:
    assert printable(text, 100) == shown


def test_the_limit() -> None:
    assert printable("a" * 10, 10) == "a" * 10
    assert printable("a" * 11, 10) == "a" * 9 + "…"
    assert printable("\n" * 3, 10) == "\\x0a\\x0a\\…"


@given(st.text(), st.integers(1, 50))
def test_anything_becomes_printable_and_short(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    shown.encode()
