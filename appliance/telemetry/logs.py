"""Logs: one JSON object in one line for each entry, or a short line where the output is a terminal.

    {"ts": "2026-01-31T12:00:00.000000+00:00", "level": "info", "target": "appliance.audit", "message": "...", "fields": {...}}

Code logs with the standard library, ``logging.getLogger(__name__)``, and gives fields as ``extra``. Everything that
does not print is escaped, so no text of a client's can forge a line or drive a terminal; fields whose names speak of
secrets are masked.
"""

import json
import logging
import math
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.text import printable

MASK = "***"
MAX_TEXT = 4096
MAX_ITEMS = 64
MAX_DEPTH = 4
_OWN = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"})
_SECRET = re.compile(r"authorization|cookie|password|passwd|secret|token|private_?key|api_?key|credential", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/?#\s@]*@")
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
LEVELS = ("debug", "info", "warning", "error")


class JsonFormatter(logging.Formatter):
    """One line for each entry. ``priority`` puts ``<6>`` before it, which journald reads as the level (sd-daemon(3))."""

    def __init__(self, *, priority: bool = False) -> None:
        super().__init__()
        self._priority = priority

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        entry = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": level,
            "target": printable(record.name, 256),
            "message": _text(_message(record)),
            "fields": self._fields(record),
        }
        line = json.dumps(entry, allow_nan=False)
        return f"<{_PRIORITY.get(level, 6)}>{line}" if self._priority else line

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        given = {name: value for name, value in record.__dict__.items() if name not in _OWN}
        fields = _plain(given, 0)
        if record.exc_info and record.exc_info[0]:
            fields["exception"] = printable(self.formatException(record.exc_info), 4 * MAX_TEXT)
        return dict(fields)


class TextFormatter(logging.Formatter):
    """For a person at a terminal: time, level unless it is info, message; fields are left to the JSON form."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        line = f"{when} {level}{_text(_message(record))}"
        if record.exc_info and record.exc_info[0]:
            line += "\n" + "\n".join(printable(text, 512) for text in self.formatException(record.exc_info).splitlines())
        return line


def _message(record: logging.LogRecord) -> str:
    """A message whose arguments do not fit is still worth its line."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return str(record.msg)


def _text(text: str) -> str:
    return printable(_USERINFO.sub("", text[: MAX_TEXT + 1]), MAX_TEXT)


def _plain(value: object, depth: int) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping) and depth < MAX_DEPTH:
        items = list(value.items())[:MAX_ITEMS]
        return {printable(str(name), 128): _item(str(name), item, depth + 1) for name, item in items}
    if isinstance(value, list | tuple | set | frozenset) and depth < MAX_DEPTH:
        return [_plain(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
    return _text(str(value))


def _item(name: str, value: object, depth: int) -> Any:
    return MASK if _SECRET.search(name) else _plain(value, depth)


def configure(level: str = "info", target: str = "stdout", stream: TextIO | None = None) -> logging.Handler:
    """Send the log of the whole process to ``target``: stdout, stderr or journal (stderr with priorities).

    Replaces what an earlier call set up, and returns the handler. ``stream`` is for tests.
    """
    output = stream or (sys.stdout if target == "stdout" else sys.stderr)
    handler = logging.StreamHandler(output)
    handler.setFormatter(TextFormatter() if output.isatty() else JsonFormatter(priority=target == "journal"))
    handler.addFilter(Sampled())  # or whoever causes an error per connection writes the disk full
    handler.set_name("arcus")
    root = logging.getLogger()
    for old in [item for item in root.handlers if item.get_name() == "arcus"]:
        root.removeHandler(old)
    root.addHandler(handler)
    set_level(level)
    logging.raiseExceptions = False  # a log that cannot be written must not write a traceback, for the same reason
    logging.captureWarnings(True)
    return handler


def set_level(level: str, target: str = "") -> None:
    """Change the level while running, of everything or of one target and what is below it.

    Raises:
        ValueError: no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"not a level: {level!r} (one of {', '.join(LEVELS)})")
    logging.getLogger(target or None).setLevel(level.upper())


class Sampled(logging.Filter):
    """At most ``burst`` entries of the same target and message in ``seconds``; the next one says how many were left out."""

    def __init__(self, burst: int = 20, seconds: float = 10.0, clock: Clock | None = None) -> None:
        super().__init__()
        self._burst = burst
        self._seconds = seconds
        self._clock = clock or SystemClock()
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if len(self._seen) > 1024:
            self._seen.clear()
        key = (record.name, str(record.msg))
        now = self._clock.monotonic()
        start, count = self._seen.get(key, (now, 0))
        if now - start >= self._seconds:
            if count > self._burst:
                record.suppressed = count - self._burst
            start, count = now, 0
        self._seen[key] = (start, count + 1)
        return count < self._burst
