"""Times of the week, as rules state them."""

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator

from appliance.config.values import Node

_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)\Z")


def parse_hours(value: str) -> tuple[int, int]:
    """``08:00-17:30`` as minutes of the day, the end not included. An end before the start is on the next day.

    Raises:
        ValueError: malformed, or start and end are the same.
    """
    match = _HOURS.match(value)
    if not match:
        raise ValueError(f"not hours: {value!r} (write 08:00-17:30, or 22:00-06:00 past midnight)")
    start = int(match[1]) * 60 + int(match[2])
    end = int(match[3]) * 60 + int(match[4]) if match[3] else 24 * 60
    if start == end:
        raise ValueError(f"hours without length: {value!r} (a whole day is 00:00-24:00)")
    return start, end


def check_hours(value: str) -> str:
    parse_hours(value)
    return value


def check_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"not a time zone: {value!r} (write UTC or Europe/Berlin)") from None
    return value


Hours = Annotated[str, AfterValidator(check_hours)]
Zone = Annotated[str, AfterValidator(check_zone)]
type Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class TimeWindow(Node):
    """Some hours of some days."""

    days: list[Day] = []
    """Days of the week, by their first three letters; none given: every day."""
    hours: list[Hours] = []
    """`08:00-17:30`, the end not included; none given: the whole day. Hours past midnight belong to the day they begin on."""
    zone: Zone = "UTC"
    """The time zone, by its IANA name."""
