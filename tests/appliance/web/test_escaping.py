"""Whatever stands in an event or in a question: the page has the same tags and attributes as with a harmless value."""

import asyncio
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audit.fields import FIELDS
from appliance.audit.query.filter import EventFilter, Page
from tests.appliance.web.client import Client
from tests.appliance.web.stage import process, rebuilt, stage

pytestmark = pytest.mark.security

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</pre></details><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "\ud800<b>",
    "\x00\x1b[2J\u202e<i>",
    "]]><!--",
    "&lt;b&gt;&#60;b&#62;",
]
texts = st.text(st.characters(exclude_categories=()), min_size=1)
values = st.one_of(st.sampled_from(HOSTILE), texts).map(lambda text: f"x{text}")


class Shape(HTMLParser):
    """Tags with the names of their attributes; addresses and event handlers are checked on the way."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            assert not name.startswith("on")
            assert name != "style"
            if name in ("href", "src", "action"):
                assert value is not None
                assert value.startswith("/")
                assert not value.startswith("//")
        self.tags.append((tag, *(name for name, _ in attrs)))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")


def full_of(text: str) -> dict[str, Any]:
    """An event with the text in every field, in lists, in names of objects, and in fields that do not exist yet."""
    event: dict[str, Any] = {"new": text, "deep": {"er": {"x": [text, {"y": text}]}}}
    for name in FIELDS:
        parts = name.split(".")
        at = event.setdefault("scans", [{}])[0] if parts[0] == "scans" else event
        for part in parts[:-1] if parts[0] != "scans" else ():
            at = at.setdefault(part, {})
        at[parts[-1]] = text
    return event | {"steps": {"x": 1.0, f"{text}y": 2.0}, "policies": [text, text], "events": [text]}


class Fixed:
    def __init__(self) -> None:
        self.event: dict[str, Any] = {}

    def list(self, wanted: EventFilter) -> Page:
        return Page([self.event], wanted.cursor)

    def get(self, *_: object) -> dict[str, Any]:
        return self.event


type Served = tuple[Client, Fixed]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with stage(Path(tmp_path_factory.mktemp("web"))) as made:
        fixed: Any = Fixed()
        yield rebuilt(made, audit=fixed), fixed


def shape(client: Client, path: str) -> list[tuple[str, ...]]:
    reply = asyncio.run(client.page(path))
    assert reply.status in (200, 400, 404)
    return Shape(reply.text).tags


PATHS = ("/audit?range=all", "/audit/x")
_HARMLESS: list[list[tuple[str, ...]]] = []


def harmless_shapes(client: Client, fixed: Fixed) -> list[list[tuple[str, ...]]]:
    """What the pages look like when nothing is wrong, once."""
    if not _HARMLESS:
        fixed.event, before = full_of("harmless"), fixed.event
        _HARMLESS.extend(shape(client, path) for path in PATHS)
        fixed.event = before
    assert all(len(tags) > 30 for tags in _HARMLESS)
    return _HARMLESS


@settings(max_examples=40, deadline=None)
@given(text=values)
def test_xss_no_field_of_an_event_becomes_markup(served: Served, text: str) -> None:
    client, fixed = served
    fixed.event = full_of(text)
    for path, expected in zip(PATHS, harmless_shapes(client, fixed), strict=True):
        assert shape(client, path) == expected


@settings(max_examples=40, deadline=None)
@given(text=values)
def test_xss_json_twins_carry_any_event_and_are_no_html(served: Served, text: str) -> None:
    client, fixed = served
    fixed.event = full_of(text)
    for path in ("/audit.json", "/audit/x.json"):
        reply = asyncio.run(client.get(path))
        assert reply.header("content-type") == "application/json"
        answer = reply.json["events"][0] if path == "/audit.json" else reply.json
        assert answer == json.loads(json.dumps(fixed.event))


QUESTION = ("q", "tenant", "action", "reason", "status", "range", "since", "until", "cursor", "unknown")


@settings(max_examples=40, deadline=None)
@given(text=values, name=st.sampled_from(QUESTION))
def test_xss_no_parameter_becomes_markup(served: Served, text: str, name: str) -> None:
    client, fixed = served
    fixed.event = full_of("harmless")
    harmless = shape(client, "/audit?" + urlencode({name: "harmless", "limit": "wrong"}))
    assert shape(client, "/audit?" + urlencode({name: text, "limit": "wrong"}, errors="replace")) == harmless


@settings(max_examples=15, deadline=None)
@given(text=values)
def test_xss_paths_and_the_login(served: Served, text: str) -> None:
    client, _ = served
    encoded = quote(text.encode("utf-8", "replace"), safe="")
    assert shape(client, f"/nothing/{encoded}") == shape(client, "/nothing/x")
    assert shape(client, f"/login?next=/{encoded}") == shape(client, "/login?next=/x")


@settings(max_examples=15, deadline=None)
@given(text=values)
def test_xss_details_of_health(text: str) -> None:
    from appliance.telemetry.health import Health, State, notices

    health = Health({"a": process("a", State.DEGRADED, text)})
    assert notices(health) == [f"part: {text} (a)"]


async def test_infinite_numbers_are_text_in_json(served: Served) -> None:
    client, fixed = served
    fixed.event = {"id": "a", "steps": {"wait": float("inf")}, "list": [float("nan"), 1.5]}
    assert (await client.get("/audit/x.json")).json == {"id": "a", "steps": {"wait": "inf"}, "list": ["nan", 1.5]}
