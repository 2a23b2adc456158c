import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from appliance.telemetry.logs import JsonFormatter, Sampled, configure, set_level

logger = logging.getLogger("appliance.some.part")
type Entries = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    level, raise_exceptions = root.level, logging.raiseExceptions
    stream = io.StringIO()
    handler = configure("info", stream=stream)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
    logger.setLevel(logging.NOTSET)
    logging.raiseExceptions = raise_exceptions
    logging.captureWarnings(False)


@pytest.fixture
def entries(stream: io.StringIO) -> Entries:
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_log_01_an_entry_has_its_five_parts(entries: Entries) -> None:
    logger.warning("the %s is %d", "answer", 42, extra={"tenant": "acme", "size": 3, "share": 0.5, "good": True, "none": None})
    (entry,) = entries()
    assert set(entry) == {"ts", "level", "target", "message", "fields"}
    assert entry["ts"].endswith("+00:00")
    assert (entry["level"], entry["target"], entry["message"]) == ("warning", "appliance.some.part", "the answer is 42")
    assert entry["fields"] == {"tenant": "acme", "size": 3, "share": 0.5, "good": True, "none": None}


@pytest.mark.security
@pytest.mark.parametrize(
    "evil",
    ["a\nb", "a\r\n{}", "a\x1b[2Jb", "a\x00b", "a\u2028b", "a\u202eb", "a\x85b", "a\x9b2J"],
    ids=["lf", "crlf", "escape", "nul", "line-separator", "right-to-left", "next-line", "csi"],
)
def test_log_01_no_text_forges_a_line_or_drives_a_terminal(stream: io.StringIO, entries: Entries, evil: str) -> None:
    logger.info(evil, extra={"field": evil, "nested": {"list": [evil]}, evil: 1})
    (entry,) = entries()
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().isascii()
    assert entry["message"].isprintable()
    assert entry["fields"]["field"].isprintable()
    assert entry["fields"]["nested"]["list"][0].isprintable()
    assert all(name.isprintable() for name in entry["fields"])


@pytest.mark.security
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(),
    st.recursive(
        st.one_of(st.none(), st.floats(), st.integers(), st.text(), st.binary()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
)
def test_any_entry_is_one_line_of_json(message: str, value: object) -> None:
    record = logging.makeLogRecord({"msg": message, "name": "x", "levelname": "INFO", "field": value})
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert "\n" not in line
    json.loads(line, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


@pytest.mark.security
def test_a_lone_surrogate_is_written_out() -> None:
    # not through a logger: pytest keeps what those get, and cannot send it between processes
    line = JsonFormatter().format(logging.makeLogRecord({"msg": "a\ud800", "name": "x", "levelname": "INFO"}))
    assert json.loads(line)["message"] == "a\\ud800"


@pytest.mark.security
def test_secrets_are_masked(stream: io.StringIO) -> None:
    logger.info(
        "connect to https://user:hunter2@parent.test:8080",
        extra={
            "Proxy-Authorization": "Basic hunter2",
            "headers": {"Cookie": "hunter2"},
            "password": "hunter2",
            "url": "http://u:hunter2@h/",
        },
    )
    assert "hunter2" not in stream.getvalue()
    assert "parent.test:8080" in stream.getvalue()


def test_log_08_the_level_changes_at_run_time(entries: Entries) -> None:
    logger.debug("not yet")
    set_level("debug")
    logger.debug("now")
    set_level("error")
    logger.warning("no more")
    set_level("debug", "appliance.some")
    logger.debug("this part only")
    logging.getLogger("appliance.other").warning("not that part")
    logging.getLogger("appliance.some").setLevel(logging.NOTSET)
    assert [entry["message"] for entry in entries()] == ["now", "this part only"]
    with pytest.raises(ValueError, match="not a level"):
        set_level("loud")


def test_exceptions_are_a_field(stream: io.StringIO, entries: Entries) -> None:
    try:
        raise ValueError("bad\nthing")
    except ValueError:
        logger.exception("it broke")
    (entry,) = entries()
    assert "ValueError: bad" in entry["fields"]["exception"]
    assert stream.getvalue().count("\n") == 1


def test_arguments_that_do_not_fit_still_give_a_line(entries: Entries) -> None:
    logger.info("%d things", "many")
    assert entries()[0]["message"] == "%d things"


def test_long_entries_are_cut(stream: io.StringIO) -> None:
    logger.info("x" * 100_000, extra={"many": list(range(100_000)), "deep": [[[[[[["x"]]]]]]]})
    assert len(stream.getvalue()) < 10_000


def test_configuring_again_replaces_the_handler(stream: io.StringIO) -> None:
    other = io.StringIO()
    handler = configure("info", stream=other)
    logger.info("once")
    logging.getLogger().removeHandler(handler)
    assert stream.getvalue() == ""
    assert other.getvalue().count("\n") == 1


def test_the_journal_gets_priorities() -> None:
    stream = io.StringIO()
    handler = configure("info", "journal", stream)
    logger.error("broken")
    logging.getLogger().removeHandler(handler)
    assert stream.getvalue().startswith('<3>{"ts"')


def test_a_flood_of_the_same_entry_is_thinned() -> None:
    clock = ManualClock()
    sampled = Sampled(burst=2, seconds=10, clock=clock)
    records = [logging.makeLogRecord({"msg": "same", "name": "x"}) for _ in range(6)]
    assert [sampled.filter(record) for record in records[:5]] == [True, True, False, False, False]
    clock.advance(10)
    assert sampled.filter(records[5])
    assert records[5].suppressed == 3  # type: ignore[attr-defined]
    assert all(sampled.filter(logging.makeLogRecord({"msg": f"m{number}", "name": "x"})) for number in range(5000))
    assert len(sampled._seen) <= 1025


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_short_lines_that_no_text_can_forge() -> None:
    stream = _Terminal()
    handler = configure("info", stream=stream)
    try:
        logging.getLogger("t").warning("one\ntwo \x1b[31mred")
    finally:
        logging.getLogger().removeHandler(handler)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert "warning: one" in lines[0]
    assert "\x1b" not in lines[0]
