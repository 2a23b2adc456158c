import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.tenant import Tenant
from appliance.domain.decision import ALLOW, Action, Decision
from appliance.domain.facts import HelloFacts
from appliance.domain.ids import TaskId, TenantId
from appliance.domain.notes import ConnNotes, TaskNotes
from appliance.domain.reason import Reason, Source
from appliance.domain.target import Target
from appliance.domain.verdict import Outcome, ScanVerdict
from appliance.policy import pages
from appliance.policy.pages import DEFAULT_CHALLENGE, MAX_TEXT, Page, PageMaker, render
from tests.appliance.policy.asking import CLIENT, tenant

HTML, JSON = "text/html,*/*;q=0.8", "application/json"
BLOCKED = Decision(Action.BLOCK, Reason.POLICY_BLOCKED, "no-games", "tenant", "Games are not allowed")
EVIL = "<script>alert(1)</script>\"'&\r\nX-Evil: 1\x1b[31m\u202e\x00"


def notes(protocol: str = "http", **fields: Any) -> TaskNotes:
    conn = ConnNotes(CLIENT, protocol=protocol, tenant=TenantId("a"))
    defaults = {
        "task_id": TaskId("01hf7yat00abcdefghjkmnpqrs"), "target": Target("www.games.test", 443), "scheme": "http",
        "method": "GET", "path": "/play?level=1", "started": 1_700_000_000.0,
    }  # fmt: skip
    return TaskNotes(conn, **{**defaults, **fields})


def branded(title: str = "Tenant A Corp", contact: str = "it@tenant-a.test") -> Tenant:
    return tenant(branding={"title": title, "contact": contact})


class Reader(HTMLParser):
    """Elements, attributes and visible text of a page."""

    def __init__(self, page: Page) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page.body.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_pol_04_c5_page_says_reason_rule_request_and_contact() -> None:
    page = render(BLOCKED, notes(), branded(), accept=HTML)
    text = Reader(page).text
    assert page.status == 403
    for expected in (
        "Tenant A Corp", "Games are not allowed", Reason.POLICY_BLOCKED.text, "policy_blocked", "no-games",
        "01hf7yat00abcdefghjkmnpqrs", "it@tenant-a.test", "http://www.games.test:443/play?level=1", "2023-11-14 22:13:20 UTC",
    ):  # fmt: skip
        assert expected in text


def test_pol_04_headers() -> None:
    headers = dict(render(BLOCKED, notes(), branded(), accept=HTML).headers)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Arcus-Reason"] == "policy_blocked"
    assert headers["X-Arcus-Request-Id"] == "01hf7yat00abcdefghjkmnpqrs"
    assert headers["Proxy-Status"] == 'arcus; error=http_request_denied; details="policy_blocked"'
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe-inline" not in headers["Content-Security-Policy"]
    assert not {"Location", "Proxy-Authenticate", "Retry-After"} & headers.keys()


def test_the_style_sheet_is_the_one_that_the_policy_allows() -> None:
    import base64
    import hashlib

    page = render(BLOCKED, notes(), None, accept=HTML)
    style = re.search(r"<style>(.*?)</style>", page.body.decode(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in dict(page.headers)["Content-Security-Policy"]


def test_c5_page_loads_nothing_and_is_accessible() -> None:
    page = render(BLOCKED, notes(), branded(), accept=HTML)
    body, reader = page.body.decode(), Reader(page)
    assert not {"script", "img", "link", "iframe", "form", "object"} & set(reader.tags)
    assert not {name for name, _ in reader.attributes} & {"src", "style", "onclick", "onload"}
    assert "@import" not in body
    assert "url(" not in body
    assert ("lang", "en") in reader.attributes
    assert {"title", "main", "h1", "dl"} <= set(reader.tags)
    assert reader.tags.count("h1") == 1
    assert "prefers-color-scheme:dark" in body


def test_forms_follow_what_the_client_accepts() -> None:
    text = render(BLOCKED, notes(), branded(), accept="*/*")
    assert dict(text.headers)["Content-Type"] == "text/plain; charset=utf-8"
    assert "Rule: no-games" in text.body.decode().splitlines()
    assert "<" not in text.body.decode()
    value = json.loads(render(BLOCKED, notes(), branded(), accept=JSON).body)
    assert value["reason"] == "policy_blocked"
    assert value["rule"] == "no-games"
    assert value["message"] == "Games are not allowed"
    assert value["request_id"] == "01hf7yat00abcdefghjkmnpqrs"
    assert value["contact"] == "it@tenant-a.test"


def test_head_has_the_header_and_no_body() -> None:
    page = render(BLOCKED, notes(method="HEAD"), None, accept=HTML)
    assert (page.status, page.body) == (403, b"")


@pytest.mark.parametrize(
    ("protocol", "scheme", "status"),
    [("http", "http", 407), ("connect", "connect", 407), ("", "", 407), ("connect", "https", 403), ("tproxy", "http", 403)],
)
def test_pol_07_usr_13_407_only_where_the_client_speaks_to_a_proxy(protocol: str, scheme: str, status: int) -> None:
    decision = Decision(Action.REQUIRE_AUTH, Reason.AUTH_REQUIRED, "who")
    page = render(decision, notes(protocol, scheme=scheme), None, challenge='Basic realm="Staff", charset="UTF-8"')
    assert page.status == status
    challenge = dict(page.headers).get("Proxy-Authenticate")
    assert challenge == ('Basic realm="Staff", charset="UTF-8"' if status == 407 else None)


def test_usr_01_407_always_has_a_challenge() -> None:
    for challenge in ("", "Basic\r\nX: y", "Basic realm=\u00e9"):
        page = render(Reason.AUTH_FAILED, notes(), None, challenge=challenge)
        assert dict(page.headers)["Proxy-Authenticate"] == DEFAULT_CHALLENGE


@pytest.mark.parametrize("reason", [Reason.RATE_LIMITED, Reason.ICAP_OVERLOAD, Reason.SHUTTING_DOWN, Reason.NO_ESCAPER])
def test_retry_after(reason: Reason) -> None:
    assert dict(render(reason, notes(), None, retry_after=30).headers)["Retry-After"] == "30"
    assert dict(render(reason, notes(), None, retry_after=0).headers)["Retry-After"] == "1"


def test_pol_06_pol_10_redirects() -> None:
    url = "https://portal.test/?reason=policy_blocked&policy=p"
    page = render(Decision(Action.REDIRECT, Reason.POLICY_BLOCKED, "p", redirect_url=url), notes(), None)
    assert page.status == 302
    assert dict(page.headers)["Location"] == url
    assert dict(page.headers)["X-Arcus-Reason"] == "policy_blocked"


@pytest.mark.security
@pytest.mark.parametrize(
    "url", ["", "/relative", "//evil.test", "javascript:alert(1)", "https://a.test/\r\nSet-Cookie: x=y", "https://a b"]
)
def test_pol_06_an_unsafe_location_is_never_sent(url: str) -> None:
    page = render(Decision(Action.REDIRECT, Reason.POLICY_REDIRECTED, "p", redirect_url=url), notes(), None)
    assert page.status == 403
    assert "Location" not in dict(page.headers)


def test_malware_page_names_the_threat_and_other_pages_do_not() -> None:
    scan = ScanVerdict("respmod", "RESPMOD", Outcome.BLOCKED, Reason.MALWARE_FOUND, "Win.Test.EICAR_HDB-1")
    asked = notes(scans=[scan, ScanVerdict("other", "RESPMOD", Outcome.CLEAN)])
    assert "Win.Test.EICAR_HDB-1" in Reader(render(Reason.MALWARE_FOUND, asked, None, accept=HTML)).text
    assert "EICAR" not in Reader(render(BLOCKED, asked, None, accept=HTML)).text


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.OK])
@pytest.mark.parametrize("accept", [HTML, JSON, ""])
def test_every_reason_has_a_page_that_is_no_success(reason: Reason, accept: str) -> None:
    page = render(reason, notes(), branded(), accept=accept)
    assert page.status >= 400
    assert reason.word in page.body.decode()
    assert reason.source is not Source.NONE


@pytest.mark.security
@pytest.mark.parametrize("outcome", [Reason.OK, ALLOW, Decision(Action.BLOCK), Decision(Action.ALLOW, Reason.POLICY_BLOCKED)])
def test_an_outcome_that_allows_never_becomes_a_success_page(outcome: Decision | Reason) -> None:
    assert render(outcome, notes(), None).status == 500


def evil_page(text: str, accept: str) -> Page:
    scan = ScanVerdict("s", "RESPMOD", Outcome.BLOCKED, Reason.MALWARE_FOUND, text)
    decision = Decision(Action.BLOCK, Reason.MALWARE_FOUND, text, text, text)
    asked = notes(scheme="https", path=text, scans=[scan], task_id=TaskId(text))
    return render(decision, asked, branded(text, text), accept=accept)


@pytest.mark.security
@given(st.text(max_size=80) | st.text(st.sampled_from("<>&\"'=/ ;{}javscript:\r\n\x00"), max_size=40))
def test_no_input_becomes_markup(text: str) -> None:
    plain = Reader(evil_page("plain", HTML))
    evil = Reader(evil_page(text, HTML))
    optional = {"p", "dt", "dd", "a"}
    assert [tag for tag in evil.tags if tag not in optional] == [tag for tag in plain.tags if tag not in optional]
    assert {name for name, _ in evil.attributes} <= {"lang", "charset", "name", "content", "class", "href", "rel"}
    targets = [value for name, value in evil.attributes if name == "href"]
    assert all(target.startswith(("mailto:", "http://", "https://")) for target in targets)


@pytest.mark.security
@pytest.mark.parametrize("accept", [HTML, JSON, "*/*"])
def test_evil_input_in_every_form(accept: str) -> None:
    page = evil_page(EVIL, accept)
    body = page.body.decode()
    assert "<script" not in body or accept == "*/*"
    for raw in ("\x1b", "\x00", "\u202e", "\r"):
        assert raw not in body
    assert "\nX-Evil" not in body
    for name, value in page.headers:
        assert value.isascii(), name
        assert value.isprintable(), name


@pytest.mark.security
@given(st.text(max_size=60))
def test_json_has_no_angle_bracket_and_parses(text: str) -> None:
    body = evil_page(text, JSON).body
    assert b"<" not in body
    assert json.loads(body)["reason"] == "malware_found"


@pytest.mark.parametrize(
    ("contact", "href"),
    [
        ("it@tenant-a.test", "mailto:it@tenant-a.test?subject=Request%2001hf7yat00abcdefghjkmnpqrs"),
        ("https://help.test/?a=1&b=2", "https://help.test/?a=1&b=2"),
        ("Room 4, phone 12", None),
        ("javascript:alert(1)", None),
        ('https://help.test/"onclick="x', None),
        ("a@b.test?cc=evil@x.test", None),
    ],
)
def test_contact_is_a_link_only_when_it_is_one(contact: str, href: str | None) -> None:
    reader = Reader(render(BLOCKED, notes(), branded(contact=contact), accept=HTML))
    assert [value for name, value in reader.attributes if name == "href"] == ([href] if href else [])
    assert contact in reader.text


def test_long_input_is_cut() -> None:
    page = render(
        Decision(Action.BLOCK, Reason.POLICY_BLOCKED, "r" * 9999, message="m" * 9999),
        notes(path="/" + "u" * 99999),
        None,
        accept=HTML,
    )
    assert len(page.body) < 8000
    assert "m" * (MAX_TEXT - 1) + "…" in page.body.decode()


def test_page_maker_takes_the_decision_where_it_ended_the_task() -> None:
    maker = PageMaker({TenantId("a"): branded()}, lambda _conn: "Basic realm=x")
    asked = notes(decision=BLOCKED, reason=Reason.POLICY_BLOCKED)
    assert "no-games" in maker.page(asked, HTML).body.decode()
    asked = notes(decision=BLOCKED, reason=Reason.ICAP_TIMEOUT)
    page = maker.page(asked, HTML)
    assert page.status == 503
    assert "no-games" not in page.body.decode()
    assert "Tenant A Corp" in page.body.decode()
    asked = notes(decision=ALLOW, reason=Reason.AUTH_FAILED)
    assert dict(maker.page(asked, "").headers)["Proxy-Authenticate"] == "Basic realm=x"


@pytest.mark.security
def test_ten_12_page_maker_shows_no_other_tenant() -> None:
    def unexpected(_conn: ConnNotes) -> str:
        raise AssertionError("no tenant, no challenge of a tenant")

    maker = PageMaker({TenantId("b"): branded("Tenant B Corp")}, unexpected)
    assert b"Tenant B Corp" not in maker.page(notes(reason=Reason.POLICY_BLOCKED), HTML).body
    stranger = notes(reason=Reason.AUTH_REQUIRED)
    stranger.conn.tenant = None
    assert dict(maker.page(stranger).headers)["Proxy-Authenticate"] == DEFAULT_CHALLENGE


def test_the_address_shown_leaves_out_default_ports_and_unknown_parts() -> None:
    def shown(**fields: Any) -> str:
        return str(json.loads(pages.render(BLOCKED, notes(**fields), None, accept=JSON).body).get("url", ""))

    assert shown(scheme="https", target=Target("a.test", 443), path="/x") == "https://a.test/x"
    assert shown(scheme="http", target=Target("a.test", 80), path="/") == "http://a.test/"
    assert shown(scheme="https", target=Target("2001:db8::1", 8443), path="/") == "https://[2001:db8::1]:8443/"
    assert shown(scheme="connect", target=Target("a.test", 443), path="") == "a.test:443"
    assert shown(target=None) == ""


def test_the_address_shown_is_the_name_that_a_transparent_client_asked_for() -> None:
    task = notes(scheme="https", target=Target("192.0.2.1", 443), path="/x")
    for sni, want in (("a.test", "https://a.test/x"), ("", "https://192.0.2.1/x")):
        task.conn.hello = HelloFacts(sni=sni)
        assert json.loads(render(BLOCKED, task, None, accept=JSON).body)["url"] == want
    task.conn.hello, task.target = HelloFacts(sni="a.test"), Target("b.test", 443)
    assert json.loads(render(BLOCKED, task, None, accept=JSON).body)["url"] == "https://b.test/x"


@pytest.mark.parametrize(("scheme", "shown"), [("http", True), ("connect", True), ("https", False), ("wss", False)])
@pytest.mark.parametrize("accept", ["text/html", "application/json", "text/plain"])
def test_tls_16_a_page_outside_tls_says_where_a_device_is_set_up(scheme: str, shown: bool, accept: str) -> None:
    """Inside TLS the CA is trusted already, or the page would not be seen."""
    notes = TaskNotes(ConnNotes(CLIENT), scheme=scheme)
    page = render(Reason.AUTH_REQUIRED, notes, None, accept=accept, setup="http://arcus.internal/")
    assert (b"http://arcus.internal/" in page.body) is shown
    assert b"arcus.internal" not in render(Reason.AUTH_REQUIRED, notes, None, accept=accept).body
