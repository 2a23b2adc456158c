"""Queries against a real database: what they find, and what they can never reach."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from appliance.audit.errors import QueryError
from appliance.audit.fields import FIELDS, Kind
from appliance.audit.mask import Masker
from appliance.audit.query.filter import MAX_LIMIT, EventFilter
from appliance.audit.query.search import AuditSearch
from appliance.audit.record import to_event
from appliance.domain.clock import ManualClock
from appliance.domain.facts import ClientFacts
from appliance.domain.ids import TenantId
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.storage.sqlite import SqliteStore
from tests.appliance.audit.samples import START, full_task, task

NOW = START + 3_600


def put(store: SqliteStore, *events: dict[str, Any]) -> None:
    store.append([(event, json.dumps(event)) for event in events])


def small(task_id: str, tenant: str, ip: str, host: str, after: float, **changes: Any) -> dict[str, Any]:
    notes = task(task_id, target=Target(host, 443), scheme="https", ended=START + after, **changes)
    notes.conn.tenant = TenantId(tenant)
    notes.conn.client = ClientFacts(ip, 1000, "in")
    return to_event(notes, Masker([]))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    found = SqliteStore(tmp_path_factory.mktemp("search") / "audit.db")
    put(
        found,
        to_event(full_task(task_id="full"), Masker([])),
        small("plain", "acme", "10.0.1.2", "www.example.org", 1.0, path="/100%_sure", user_agent="curl/8.0"),
        small("denied", "acme", "10.16.0.1", "games.test", 2.0, status=403, reason=Reason.HOST_DENIED),
        small("other", "globex", "192.168.0.1", "www.example.org", 3.0, method="DELETE"),
        small("down", "globex", "2001:db8::5", "dead.test", 4.0, status=504, reason=Reason.CONNECT_TIMEOUT),
    )
    yield found
    found.close()


@pytest.fixture
def search(store: SqliteStore) -> AuditSearch:
    clock = ManualClock(time=NOW)
    return AuditSearch(store, clock)


def ids(search: AuditSearch, query: str = "", **conditions: Any) -> set[str]:
    return {event["id"] for event in search.list(EventFilter(query=query, **conditions)).events}


ALL = {"full", "plain", "denied", "other", "down"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ALL),
        ("tenant:acme", {"full", "plain", "denied"}),
        ("host:www.example.org", {"plain", "other"}),
        ("host:WWW.Example.ORG", {"plain", "other"}),
        ("host:*.example.org", {"plain", "other"}),
        ("host:example.*", {"full"}),
        ("host:(games.test or dead.test)", {"denied", "down"}),
        ("blocked:true", {"full", "denied"}),
        ("not blocked:true", {"plain", "other", "down"}),
        ("reason:host_denied or reason:connect_timeout", {"denied", "down"}),
        ("status >= 403 and status < 504", {"full", "denied"}),
        ("status:200", {"plain", "other"}),
        ("method:delete", {"other"}),
        ("signature:eicar*", {"full"}),
        ("signature:*", {"full"}),
        ("not signature:*", ALL - {"full"}),
        ("scans.outcome:blocked", {"full"}),
        ("scans.size >= 20000", {"full"}),
        ("scans.engine:*27000", {"full"}),
        ("scans.headers:*", {"full"}),
        ("client_tls.version:TLSv1.3", {"full"}),
        ("not client_tls.version:TLSv1.3", ALL - {"full"}),
        ("server_tls.certificate.issuer:*some*", {"full"}),
        ("server_tls.certificate.not_after > now", {"full"}),
        ("client_tls.resumed:true", {"full"}),
        ("client_tls.resumed:false", ALL - {"full"}),
        ("client_hello.alpn:h2", {"full"}),
        ("events:tenant_header_ignored", {"full"}),
        ("escape.path:direct", {"full"}),
        ("ip:10.0.0.0/8", {"full", "plain", "denied"}),
        ("ip:10.0.0.0/12", {"full", "plain"}),
        ("ip:10.0.1.2/32", {"plain"}),
        ("ip:10.0.1.2/31", {"plain"}),
        ("ip:0.0.0.0/0", ALL - {"down"}),
        ("ip:2001:db8::5", {"down"}),
        ("created_at >= now-1h", ALL),
        ("time > now", set()),
        ("time < 2020-01-01", set()),
        ("curl", {"plain"}),
        ('"100%_sure"', {"plain"}),
        ('"100_"', set()),
        ("url:*100%*", {"plain"}),
        ("example not curl", {"full", "other"}),
        ("denied", {"denied"}),
        ("id:plain", {"plain"}),
        ("user:alice", {"full"}),
        ("duration_ms > 110", ALL),
        ("bytes_sent:20000", {"full"}),
        ('host:"\'; drop table audit_logs; --"', set()),
    ],
)
def test_queries(search: AuditSearch, query: str, found: set[str]) -> None:
    assert ids(search, query) == found


def test_every_field_can_be_asked_for(search: AuditSearch) -> None:
    for field in FIELDS.values():
        if field.kind is not Kind.MAP:
            assert ids(search, f"{field.name}:*") <= ALL
            value = {Kind.NUMBER: "1", Kind.TIME: "now", Kind.FLAG: "true"}.get(field.kind, "x")
            assert ids(search, f"not {field.name}:{value}") | ids(search, f"{field.name}:{value}") == ALL, field.name


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("nosuch:1", "no field"),
        ("metadata:x", "no field"),
        ("seq:1", "no field"),
        ("steps:1", "no field"),
        ("status:many", "no number"),
        ("status:1e999", "no number"),
        ("time:soon", "no time"),
        ("blocked:perhaps", "true or false"),
        ("blocked > 0", "true or false"),
        ("host > a", "no number"),
        ("ip:10.0.0.0/99", "network"),
        ("ip:2001:db8::/32", "network"),
    ],
)
def test_questions_that_make_no_sense_are_refused(search: AuditSearch, query: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        ids(search, query)


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({"user": "alice"}, {"full"}),
        ({"client_ip": "10.0.1.2"}, {"plain"}),
        ({"client_ip": "10.0.0.0/8"}, {"full", "plain", "denied"}),
        ({"host": "*.test"}, {"denied", "down"}),
        ({"action": "fail"}, {"down"}),
        ({"reason": "host_denied"}, {"denied"}),
        ({"method": "get", "tenant": "globex"}, {"down"}),
        ({"status": 403}, {"full", "denied"}),
        ({"blocked": False}, {"plain", "other", "down"}),
        ({"event_type": "error"}, {"down"}),
        ({"signature": "Eicar*"}, {"full"}),
        ({"since": START + 2.0}, {"denied", "other", "down"}),
        ({"until": START + 2.0}, {"full", "plain"}),
        ({"text": "curl"}, {"plain"}),
        ({"text": "100%_sure"}, {"plain"}),
        ({"host": "www.example.org", "query": "tenant:acme"}, {"plain"}),
    ],
)
def test_filters(search: AuditSearch, conditions: dict[str, Any], found: set[str]) -> None:
    assert ids(search, **conditions) == found


@pytest.mark.security
@pytest.mark.parametrize(
    "query",
    [
        "tenant:globex",
        "tenant:acme or tenant:globex",
        "not tenant:acme",
        "x or 1",
        "not (a and not a)",
        '") or (1"',
        "*",
        "id:other",
    ],
)
def test_no_query_leaves_its_tenant(search: AuditSearch, query: str) -> None:
    assert ids(search, query, tenant="acme") <= {"full", "plain", "denied"}


@pytest.mark.security
def test_a_tenant_sees_its_own_events_only_everywhere(search: AuditSearch) -> None:
    mine = EventFilter(tenant="acme")
    assert search.get("other", "acme") is None
    assert (search.get("plain", "acme") or {})["id"] == "plain"
    assert (search.get("other") or {})["tenant_id"] == "globex"
    assert search.get("nosuch") is None
    assert search.top("host", mine) == [("example.com", 1), ("games.test", 1), ("www.example.org", 1)]
    assert sum(number for _, number in search.histogram(mine, 1)) == 3
    assert {event["id"] for event in search.tail("0", mine).events} == {"full", "plain", "denied"}
    assert ids(search, tenant="") == set(), "the empty tenant is not all tenants"


TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            [
                "host",
                "ip",
                "tenant",
                "scans.ms",
                "steps",
                ":",
                ">",
                "(",
                ")",
                '"',
                "'",
                "*",
                " or ",
                " and ",
                "not ",
                "10.0.0.0/7",
                "now-1h",
                "%",
                "\ud800",
            ]
        ),
        max_size=30,
    ).map("".join),
)


@pytest.mark.security
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(query=TEXTS, text=TEXTS, host=TEXTS)
@example(query="x' OR '1'='1", text="'; --", host="'")
@example(query=":p0", text=":p0", host=":p1")
@example(query="a\x00b", text="\x00", host="\x00")
def test_no_text_reaches_another_tenant_or_breaks_the_search(search: AuditSearch, query: str, text: str, host: str) -> None:
    for wanted in (
        EventFilter(tenant="acme", query=query),
        EventFilter(tenant="acme", text=text),
        EventFilter(tenant="acme", host=host),
    ):
        try:
            page = search.list(wanted)
        except QueryError:
            continue
        assert {event["tenant_id"] for event in page.events} <= {"acme"}


def test_pages_follow_each_other_without_gaps(search: AuditSearch) -> None:
    seen: list[str] = []
    cursor = ""
    while True:
        page = search.list(EventFilter(limit=2, cursor=cursor))
        seen += [event["id"] for event in page.events]
        cursor = page.next
        if not cursor:
            break
    assert seen == ["down", "other", "denied", "plain", "full"]


def test_events_of_the_same_moment_are_paged_too(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "audit.db")
    put(store, *(small(f"e{number}", "acme", "10.0.0.1", "a.test", 0.123456) for number in range(5)))
    search = AuditSearch(store)
    first = search.list(EventFilter(limit=3))
    second = search.list(EventFilter(limit=3, cursor=first.next))
    assert [event["id"] for event in first.events + second.events] == ["e4", "e3", "e2", "e1", "e0"]
    assert second.next == ""
    store.close()


def test_the_limit_has_a_limit(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "audit.db")
    put(store, *(small(f"e{number}", "acme", "10.0.0.1", "a.test", number) for number in range(MAX_LIMIT + 1)))
    page = AuditSearch(store).list(EventFilter(limit=10**9))
    assert len(page.events) == MAX_LIMIT
    assert page.next
    assert len(AuditSearch(store).list(EventFilter(limit=-5)).events) == 1
    store.close()


@pytest.mark.parametrize("cursor", ["x", "1", "1_x", "1_2; drop", "nan_1", "1e5_1", "١_1"])
def test_cursors_are_checked(search: AuditSearch, cursor: str) -> None:
    with pytest.raises(QueryError):
        search.list(EventFilter(cursor=cursor))
    if cursor != "1":
        with pytest.raises(QueryError):
            search.tail(cursor)


def test_a_tail_starts_at_now_and_gives_what_comes(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "audit.db")
    search = AuditSearch(store)
    put(store, small("old", "acme", "10.0.0.1", "a.test", 0))
    start = search.tail()
    assert start.events == []
    put(store, *(small(f"n{number}", "acme" if number % 2 else "globex", "10.0.0.1", "a.test", -number) for number in range(5)))
    page = search.tail(start.next, EventFilter(limit=3))
    assert [event["id"] for event in page.events] == ["n0", "n1", "n2"]
    page = search.tail(page.next, EventFilter(limit=3))
    assert [event["id"] for event in page.events] == ["n3", "n4"]
    assert search.tail(page.next).events == []
    mine = search.tail(start.next, EventFilter(tenant="acme"))
    assert [event["id"] for event in mine.events] == ["n1", "n3"]
    assert search.tail(mine.next, EventFilter(tenant="acme")).events == []
    store.close()


def test_top_and_histogram(search: AuditSearch) -> None:
    assert search.top("tenant", EventFilter()) == [("acme", 3), ("globex", 2)]
    assert search.top("host", EventFilter(), limit=1) == [("www.example.org", 2)]
    assert sum(number for _, number in search.histogram(EventFilter(), 60)) == 5
    with pytest.raises(QueryError):
        search.top("scans.engine", EventFilter())
    with pytest.raises(QueryError):
        search.histogram(EventFilter(), 0)
