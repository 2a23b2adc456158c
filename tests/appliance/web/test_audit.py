import json
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest

from appliance.audit.fields import FIELDS
from appliance.audit.mask import Masker
from appliance.audit.query.filter import EventFilter, Page
from appliance.audit.record import to_event
from appliance.domain.reason import Reason
from appliance.storage.sqlite import StoreError
from appliance.web.event import FLOW, LAYOUT, SCAN, STEPS, bars, scans, sections
from appliance.web.listing import Line
from appliance.web.show import plain, search_link, value_of
from tests.appliance.audit.samples import START, full_task
from tests.appliance.web.stage import Stage, events, rebuilt


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, value or "") for name, value in attrs if name in ("href", "src", "action")]


def ids(page: list[dict[str, Any]]) -> list[str]:
    return [event["id"] for event in page]


async def test_aud_pages_by_cursor_show_every_event_once_newest_first(made: Stage) -> None:
    items = events(250)
    made.add(items)
    client = made.program()
    seen, path = [], "/audit.json?limit=100"
    while path:
        answer = (await client.get(path)).json
        seen += ids(answer["events"])
        path = f"/audit.json?limit=100&cursor={answer['next']}" if answer["next"] else ""
    assert seen == ids(items)[::-1]


async def test_aud_the_page_links_to_older_events_with_the_same_question(made: Stage) -> None:
    made.add(events(3))
    browser = await made.browser()
    path = "/audit?q=host:example.com&tenant=acme&limit=2"
    first = await browser.page(path)
    older = next(href for _, href in Links(first.text).found if "cursor=" in href)
    second = await browser.page(unescape(older))
    assert first.text.count("/audit/01m7") == 2
    assert second.text.count("/audit/01m7") == 1
    assert "cursor=" not in "".join(href for _, href in Links(second.text).found)
    assert 'rel="first"' in second.text


async def test_aud_page_and_twin_have_the_same_events(made: Stage) -> None:
    made.add([*events(4), *[item | {"id": f"x{n}", "status": 200} for n, item in enumerate(events(3))]])
    client = made.program()
    for question in ("", "?q=status:200", "?status=4xx", "?status=403", "?q=host:nothing"):
        twin = (await client.get(f"/audit.json{question}")).json["events"]
        assert (await client.get(f"/api/v1/audit{question}")).json["events"] == twin
        page = (await client.page(f"/audit{question}")).text
        assert [item["id"] in page for item in twin] == [True] * len(twin)
        assert page.count('class="time"') == len(twin)


FILTERS = [
    ("tenant=acme", True),
    ("tenant=other", False),
    ("action=block", True),
    ("action=allow", False),
    ("reason=malware_found", True),
    ("reason=ok", False),
    ("status=403", True),
    ("status=4xx", True),
    ("status=4XX", True),
    ("status=5xx", False),
    ("status=4xx&q=host:a+or+host:example.com", True),
    ("status=5xx&q=host:a+or+host:example.com", False),
    ("range=15m", False),
    ("range=24h", True),
    ("range=all", True),
    ("since=now-15m", False),
    ("since=now-2h", True),
    ("until=now-2h", False),
    ("until=now", True),
    ("since=now-2h&range=15m", True),
    ("q=client:10.0.0.0/8", True),
    ("q=user:bob", False),
    ("unknown=1", True),
]


@pytest.mark.parametrize(("question", "found"), FILTERS)
async def test_aud_quick_filters(made: Stage, question: str, found: bool) -> None:
    made.add(events(1))
    answer = await made.program().get(f"/audit.json?{question}")
    assert answer.status == 200, answer.text
    assert bool(answer.json["events"]) is found


async def test_aud_the_default_range_is_a_day_and_the_answer_says_so(made: Stage) -> None:
    made.add(events(1))
    made.clock.advance(86_400)
    client = made.program()
    assert (await client.get("/audit.json")).json == {"events": [], "next": "", "range": "24h"}
    assert len((await client.get("/audit.json?range=all")).json["events"]) == 1


WRONG = [
    "q=host:(a",
    "q=nofield:x",
    "status=abc",
    "status=9xx",
    "range=2y",
    "since=yesterday",
    "limit=-1",
    "cursor=x",
    "q=a)&status=4xx",
]


@pytest.mark.parametrize("question", WRONG)
async def test_aud_a_question_that_cannot_be_answered_is_400_and_says_why(made: Stage, question: str) -> None:
    client = made.program()
    twin = await client.get(f"/audit.json?{question}")
    assert twin.status == 400
    page = await client.page(f"/audit?{question}")
    assert page.status == 400
    assert twin.json["error"] in unescape(page.text)


async def test_aud_no_parenthesis_of_a_query_gets_around_a_quick_filter(made: Stage) -> None:
    made.add(events(1))
    reply = await made.program().get("/audit.json?status=5xx&q=a)+or+(host:example.com")
    assert reply.status == 400


async def test_aud_the_form_keeps_what_was_asked(made: Stage) -> None:
    question = 'q=host:"a"&tenant=acme&action=block&reason=ok&status=4xx&range=7d&since=now-2h'
    page = (await made.program().page(f"/audit?{question}")).text
    assert 'value="host:&#34;a&#34;"' in page
    assert "<option selected>acme</option>" in page
    assert "<option selected>block</option>" in page
    assert '<option value="7d" selected>' in page
    assert 'value="now-2h"' in page


async def test_aud_one_event_in_full(made: Stage) -> None:
    event = events(1)[0]
    made.add([event])
    client = made.program()
    page = unescape((await client.page(f"/audit/{event['id']}")).text)
    for name in FIELDS:
        parts, _, field = name.rpartition(".")
        holders = event["scans"] if parts == "scans" else [_at(event, parts)]
        for holder in holders:
            if holder.get(field) not in (None, "") and name != "steps":
                assert value_of(name, holder[field]) in page, name
    for name in STEPS.keys() & event["steps"].keys():
        assert f">{name}<" in page
    for path in (f"/audit/{event['id']}.json", f"/api/v1/audit/{event['id']}"):
        assert (await client.get(path)).json == event


def _at(event: dict[str, Any], path: str) -> dict[str, Any]:
    for part in path.split(".") if path else ():
        event = event.get(part, {})
    return event


def test_aud_every_field_has_its_place_in_a_section() -> None:
    listed = {f"scans.{name}" for name in SCAN} | {f"flows.{name}" for name in FLOW}
    placed = {name for names in LAYOUT.values() for name in names} | listed | {"steps"}
    assert placed == set(FIELDS)
    assert sum(map(len, LAYOUT.values())) == len({name for names in LAYOUT.values() for name in names})


def test_aud_a_field_that_nobody_knows_is_shown_too() -> None:
    shown = sections({"id": "a", "new": {"thing": [1, {"x": True}]}})
    assert shown[-1].title == "More"
    assert [(row.name, row.value) for row in shown[-1].rows] == [("new.thing", "1, x: yes")]


def test_aud_scans_say_what_found_it_and_how_long_it_took() -> None:
    first, second = scans(events(1)[0])
    assert [section.title for section in (first, second)] == ["REQMOD", "RESPMOD"]
    rows = {row.name: row.value for row in second.rows}
    assert rows["signature"] == "Eicar-Test-Signature"
    assert rows["engine"] == "ClamAV 1.4.2/27511"
    assert rows["ms"] == "8.5"


def test_aud_bars_have_the_whole_task_first_and_nothing_longer_than_the_picture() -> None:
    shown = bars({"duration_ms": 50.0, "steps": {"wait": 40.0, "dns": 1.0, "connect": 100.0, "odd": "x", "worse": -1}})
    assert [bar.name for bar in shown] == ["task", "connect", "wait", "dns"]
    assert [bar.width for bar in shown] == [50.0, 100.0, 40.0, 1.0]
    assert bars({"duration_ms": 5.0, "steps": {"wait": 0.0}})[1].width == 0.0
    assert bars({"steps": {"wait": 0.0}})[0].width == 0.0
    assert bars({"duration_ms": 5.0}) == []
    assert bars({"steps": [1]}) == []


async def test_aud_the_find_link_of_each_value_finds_the_event(made: Stage) -> None:
    event = events(1, rule='a "quoted" \\ rule (b) or:*', user_agent="100% sure & <so>")[0]
    made.add([event])
    client = made.program()
    links = [row.link for section in (*sections(event), *scans(event)) for row in section.rows if row.link]
    assert len(links) > 60
    for link in links:
        reply = await client.get(link.replace("/audit?", "/audit.json?"))
        assert reply.status == 200, link
        assert ids(reply.json["events"]) == [event["id"]], link


def test_aud_what_cannot_be_searched_has_no_link() -> None:
    assert search_link("unknown", "x") == ""
    assert search_link("escape.path", ["a"]) == ""
    assert search_link("steps", {}) == ""


@pytest.mark.parametrize("event_id", ["nothing", "%00", "..%2f..%2fetc", "%ff", "a'b", "x" * 5000])
async def test_aud_an_event_that_is_not_there_is_404(made: Stage, event_id: str) -> None:
    client = made.program()
    for path in (f"/audit/{event_id}", f"/audit/{event_id}.json", f"/api/v1/audit/{event_id}"):
        assert (await client.get(path)).status == 404


class Broken:
    def list(self, _: EventFilter) -> Page:
        raise StoreError("database: disk I/O error")

    def get(self, *_: object) -> None:
        raise StoreError("the query took too long")


class Buggy:
    def list(self, _: EventFilter) -> Page:
        raise KeyError("/secret/place")


async def test_aud_a_store_that_cannot_answer_is_503_and_says_what_to_do(made: Stage) -> None:
    broken: Any = Broken()
    client = rebuilt(made, audit=broken)
    listed = await client.get("/audit.json")
    assert listed.status == 503
    assert "disk I/O error" in listed.json["error"]
    page = await client.page("/audit/x")
    assert page.status == 503
    assert "shorter time range" in page.text


async def test_our_own_fault_is_500_without_details(made: Stage) -> None:
    buggy: Any = Buggy()
    client = rebuilt(made, audit=buggy)
    for reply in (await client.get("/audit.json"), await client.page("/audit")):
        assert reply.status == 500
        assert "secret" not in reply.text
        assert "log of the admin process" in reply.text
    assert isinstance(client.raised, KeyError), "the server logs it"


async def test_aud_an_empty_log_says_so(made: Stage) -> None:
    assert "Nothing found" in (await made.program().page("/audit")).text


async def test_pages_load_nothing_from_elsewhere(made: Stage) -> None:
    item = events(1)[0]
    made.add([item])
    client = made.program()
    for path in ("/audit", f"/audit/{item['id']}", "/tenants", "/login", "/nothing"):
        found = Links((await client.page(path)).text).found
        assert found
        assert all(target.startswith("/") and not target.startswith("//") for _, target in found), path
    for name in ("app.css", "app.js", "icon.svg"):
        text = (await client.get(f"/static/{name}")).text.replace("http://www.w3.org/2000/svg", "")
        assert "//" not in text.replace("// ", "")
        assert "url(" not in text


def test_shown_values_take_anything() -> None:
    odd: tuple[object, ...] = (None, -1e300, 1e300, float("nan"), float("inf"), True, [], {}, "x", [[["a"]]])
    for value in odd:
        for name in FIELDS:
            assert isinstance(value_of(name, value), str)
        assert isinstance(plain(value), str)


def test_the_filter_sees_all_tenants_when_none_is_chosen(made: Stage) -> None:
    from appliance.web.asking import Asked

    assert Asked.read({"tenant": " "}).filter(START).tenant is None
    assert Asked.read({"tenant": "acme"}).filter(START).tenant == "acme"
    assert replace(Asked(), range="all").filter(START).since is None


SPARSE = [
    {},
    {"created_at": None, "status": None, "scans": None, "steps": None, "bytes_sent": None},
    {"scans": "x", "steps": "x", "client_tls": "x", "escape": ["x"], "created_at": "x"},
    {"scans": [1, {}], "steps": {}, "client_tls": {}, "created_at": 1e300, "status": 0, "url": ""},
]


@pytest.mark.parametrize("sparse", SPARSE)
async def test_aud_events_that_lack_fields_or_have_odd_ones_are_shown(made: Stage, sparse: dict[str, Any]) -> None:
    class One:
        def list(self, _: EventFilter) -> Page:
            return Page([sparse | {"id": "a"}])

        def get(self, *_: object) -> dict[str, Any]:
            return sparse | {"id": "a"}

    one: Any = One()
    client = rebuilt(made, audit=one)
    for path in ("/audit", "/audit/a", "/audit.json", "/audit/a.json"):
        assert (await client.page(path)).status == 200, path


async def test_aud_events_of_every_kind_of_end_are_shown(made: Stage) -> None:
    """As they are recorded: what is empty is left out."""
    ends = [
        full_task(reason=reason, scans=[], detail="", status=reason.status, steps={}, escape=None, decision=None)
        for reason in Reason
    ]
    items = [json.loads(json.dumps(to_event(notes, Masker(())))) for notes in ends]
    made.add(items)
    client = made.program()
    page = await client.page("/audit?limit=1000")
    assert page.status == 200
    assert page.text.count('class="time"') == len(items)
    for item in items:
        assert (await client.page(f"/audit/{item['id']}")).status == 200


def test_d6_an_alert_says_in_its_line_what_it_is_about() -> None:
    alert = {"kind": "retro", "detail": "abc was delivered", "destination_host": "a.test"}
    assert (Line.of(alert).target, Line.of({"destination_host": "a.test"}).target) == ("abc was delivered", "a.test")
