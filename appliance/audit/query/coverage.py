"""What is asked of the ledger of inspection, by the command line, the page and its JSON."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, cast

from appliance.audit.errors import QueryError
from appliance.audit.query.times import parse_time
from appliance.domain.coverage_report import BY, ORDERS, By, Report

FIELDS: Final = ("tenant", "since", "until", "by", "sort", "limit")
MAX_LINES: Final = 1000
_LIMIT: Final = re.compile(r"[1-9]\d{0,3}\Z", re.ASCII)
_LATEST: Final = 253_370_764_800.0
"""The last day of the year 9998: beyond it no date can be written."""


class Ledger(Protocol):
    """See ``appliance.storage.coverage``."""

    def __call__(
        self, since: float, until: float, by: By = "host", *, tenant: str | None = None, order: str = ..., limit: int = ...
    ) -> Report: ...


@dataclass(frozen=True, slots=True)
class Question:
    """``tenant`` None: everybody's. Times are seconds since the epoch."""

    since: float
    until: float
    by: By = "host"
    tenant: str | None = None
    order: str = "not_inspected"
    limit: int = 100

    @classmethod
    def read(cls, parameters: Mapping[str, str], now: float) -> "Question":
        """From a query string, or what a person typed; other names are passed over. Raises QueryError, with what to write."""
        given = {name: parameters[name].strip() for name in FIELDS if parameters.get(name, "").strip()}
        by, order, limit = given.get("by", "host"), given.get("sort", "not_inspected"), given.get("limit", "100")
        _among("by", by, BY)
        _among("sort", order, ORDERS)
        if not _LIMIT.match(limit) or int(limit) > MAX_LINES:
            raise QueryError(f"limit: not a number from 1 to {MAX_LINES}: {limit!r}")
        since, until = _moment("since", given.get("since", "now-24h"), now), _moment("until", given.get("until", "now"), now)
        return cls(since, until, cast(By, by), given.get("tenant"), order, int(limit))

    def answer(self, ledger: Ledger) -> Report:
        return ledger(self.since, self.until, self.by, tenant=self.tenant, order=self.order, limit=self.limit)


def _among(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise QueryError(f"{name}: not known: {value!r} (one of {', '.join(known)})")


def _moment(name: str, text: str, now: float) -> float:
    moment = parse_time(text, now)
    if moment is None or not 0 <= moment < _LATEST:
        raise QueryError(f"{name}: not a time: {text!r} (write 2026-01-31, 2026-01-31T12:00:00Z or now-24h)")
    return moment
