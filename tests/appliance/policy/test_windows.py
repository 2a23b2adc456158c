"""Times of the week, by the clock on the wall."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from appliance.config.times import TimeWindow, parse_hours
from appliance.policy.windows import DAYS, Windows

pytestmark = pytest.mark.unit


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def holds(text: str, zone: str = "UTC", **window: object) -> bool:
    return Windows([TimeWindow.model_validate({"zone": zone, **window})]).holds(at(text, zone))


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-03-02T07:59:59", False),  # a Monday
        ("2026-03-02T08:00:00", True),
        ("2026-03-02T17:29:59", True),
        ("2026-03-02T17:30:00", False),
        ("2026-03-07T12:00:00", False),  # a Saturday
    ],
)
def test_c1_office_hours(time: str, expected: bool) -> None:
    assert holds(time, "Europe/Berlin", days=["mon", "tue", "wed", "thu", "fri"], hours=["08:00-17:30"]) is expected


@pytest.mark.parametrize(
    ("time", "expected"),
    [("2026-03-06T22:00", True), ("2026-03-07T05:59", True), ("2026-03-07T06:00", False), ("2026-03-07T23:00", False)],
)
def test_c1_a_night_belongs_to_the_day_it_begins_on(time: str, expected: bool) -> None:
    assert holds(time, days=["fri"], hours=["22:00-06:00"]) is expected


def test_c1_the_zone_counts_and_several_windows_add_up() -> None:
    windows = Windows([TimeWindow(hours=["09:00-10:00"], zone="Asia/Tokyo"), TimeWindow(hours=["12:00-13:00", "23:00-24:00"])])
    assert windows.holds(at("2026-03-02T00:30"))
    assert windows.holds(at("2026-03-02T12:30"))
    assert windows.holds(at("2026-03-02T23:59"))
    assert not windows.holds(at("2026-03-02T09:30"))
    assert Windows([TimeWindow()]).holds(0.0)
    assert not Windows([]).holds(0.0)


def test_c1_an_hour_that_comes_twice_holds_twice() -> None:
    window = Windows([TimeWindow(hours=["02:00-03:00"], zone="Europe/Berlin")])
    begin = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)  # 02:00 summer time
    held = [window.holds((begin + timedelta(minutes=minute)).timestamp()) for minute in (0, 59, 60, 119, 120)]
    assert held == [True, True, True, True, False]


@pytest.mark.parametrize(
    "text", ["8:00-9:00", "08:00", "08:00-24:01", "24:00-01:00", "08:60-09:00", "08:00-08:00", "", "٠٨:00-09:00"]
)
def test_hours_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="hours"):
        parse_hours(text)


@pytest.mark.parametrize(
    "fields", [{"days": ["monday"]}, {"hours": ["9-17"]}, {"zone": "Mars/Olympus"}, {"zone": "../x"}, {"zone": ""}]
)
def test_windows_that_are_none(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TimeWindow.model_validate(fields)


MINUTE = st.integers(0, 24 * 60 - 1)


@given(st.sets(st.sampled_from(DAYS)), MINUTE, MINUTE, st.integers(0, 7 * 24 * 60 - 1))
def test_c1_a_window_is_the_set_of_its_minutes(days: set[str], start: int, end: int, minute: int) -> None:
    """Against a plain enumeration of every minute of the week."""
    if start == end:
        end = 24 * 60
    length = end - start if end > start else end + 24 * 60 - start
    inside = {
        (day * 24 * 60 + start + passed) % (7 * 24 * 60)
        for day in range(7)
        if not days or DAYS[day] in days
        for passed in range(length)
    }
    hours = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    window = Windows([TimeWindow.model_validate({"days": sorted(days), "hours": [hours]})])
    monday = datetime(2026, 3, 2, tzinfo=UTC)
    assert window.holds((monday + timedelta(minutes=minute)).timestamp()) is (minute in inside)
