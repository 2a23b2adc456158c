import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.query.times import parse_time

NOW = 1_760_000_000.0


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("now-15m", NOW - 900),
        ("NOW-2d", NOW - 172_800),
        ("now-1w", NOW - 604_800),
        ("0", 0.0),
        ("1760000000.5", 1_760_000_000.5),
        ("1970-01-02", 86_400.0),
        ("1970-01-01T01:00:00", 3_600.0),
        ("1970-01-01T01:00:00Z", 3_600.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("", None),
        ("now+1h", None),
        ("now-1y", None),
        ("yesterday", None),
        ("nan", None),
        ("inf", None),
        ("1970-13-01", None),
    ],
)
def test_moments(text: str, moment: float | None) -> None:
    assert parse_time(text, NOW) == moment


@given(st.text(max_size=40))
def test_any_text_is_a_moment_or_none(text: str) -> None:
    parse_time(text, NOW)
