"""The search form, and the parameters of the JSON twins: text to an EventFilter."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from appliance.audit.errors import QueryError
from appliance.audit.query.filter import EventFilter
from appliance.audit.query.parser import parse
from appliance.audit.query.times import parse_time

RANGES = {
    "15m": "last 15 minutes",
    "1h": "last hour",
    "24h": "last 24 hours",
    "7d": "last 7 days",
    "30d": "last 30 days",
    "all": "all",
}
DEFAULT_RANGE = "24h"
ACTIONS = ("allow", "block", "redirect", "require_auth", "fail", "decide")
FIELDS = ("q", "tenant", "action", "reason", "status", "range", "since", "until", "limit", "cursor")
_STATUS = re.compile(r"([1-5])xx\Z|(\d{1,3})\Z", re.ASCII | re.IGNORECASE)
_LIMIT = re.compile(r"\d{1,4}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """What stands in the form. ``since`` and ``until`` win over ``range``."""

    q: str = ""
    tenant: str = ""
    action: str = ""
    reason: str = ""
    status: str = ""
    range: str = DEFAULT_RANGE
    since: str = ""
    until: str = ""
    limit: str = ""
    cursor: str = ""

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> "Asked":
        """From a query string; names that are not ours are passed over."""
        return cls(**{name: parameters[name].strip() for name in FIELDS if parameters.get(name, "").strip()})

    def link(self, path: str, cursor: str = "") -> str:
        """The same question, from ``cursor`` on."""
        values = {name: getattr(self, name) for name in FIELDS if name != "cursor" and getattr(self, name)}
        return f"{path}?" + urlencode(values | ({"cursor": cursor} if cursor else {}), errors="replace")

    def filter(self, now: float) -> EventFilter:
        """Raises QueryError, with a message for who asked."""
        status, query = self._status()
        since, until = self._times(now)
        return EventFilter(
            tenant=self.tenant or None, action=self.action, reason=self.reason, status=status, since=since, until=until,
            query=query, cursor=self.cursor, limit=self._limit(),
        )  # fmt: skip

    def _status(self) -> tuple[int | None, str]:
        if not self.status:
            return None, self.q
        match = _STATUS.match(self.status)
        if match is None:
            raise QueryError(f"not a status: {self.status!r} (write 404 or 4xx)")
        if match[2]:
            return int(match[2]), self.q
        parse(self.q)  # on its own first: positions in an error are the person's, and no parenthesis of it can close ours
        of_class = f"status >= {match[1]}00 and status <= {match[1]}99"
        return None, f"({self.q}) and {of_class}" if self.q else of_class

    def _times(self, now: float) -> tuple[float | None, float | None]:
        if self.since or self.until:
            return _moment("since", self.since, now), _moment("until", self.until, now)
        if self.range not in RANGES:
            raise QueryError(f"not a range: {self.range!r} (one of {', '.join(RANGES)})")
        return (None if self.range == "all" else parse_time(f"now-{self.range}", now)), None

    def _limit(self) -> int:
        if not self.limit:
            return EventFilter().limit
        if not _LIMIT.match(self.limit):
            raise QueryError(f"not a number of events: {self.limit!r}")
        return int(self.limit)


def _moment(name: str, text: str, now: float) -> float | None:
    if not text:
        return None
    moment = parse_time(text, now)
    if moment is None:
        raise QueryError(f"{name}: not a time: {text!r} (write 2026-01-31, 2026-01-31T12:00:00Z or now-15m)")
    return moment
