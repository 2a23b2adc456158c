"""C2, C5: the button of a warning page, and everything that is no press of it."""

import dataclasses
import html
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.upstream_certificates import Warn
from appliance.domain.errors import PolicyError
from appliance.domain.facts import ClientFacts
from appliance.domain.ids import TenantId
from appliance.domain.notes import CertNotes, ConnNotes, TaskNotes, TlsNotes
from appliance.domain.proceed import Warned
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.policy.pages import PageMaker
from appliance.policy.proceed import Claim, Sealer, safe_path
from appliance.policy.warning import BUTTON, Warnings, is_navigation, own_button

A = TenantId("a")
KEY = bytes(range(32))
WARNED = Warned(A, "10.0.0.7", "alice", "bad.test", 443, "upstream_cert_expired", "ab" * 32)
CERT = CertNotes("ab" * 32, "CN=bad.test", "CN=<b>Evil</b>", "1", 0.0, 86_400.0, ("bad.test",))


class Store:
    def __init__(self, *, full: bool = False, broken: bool = False) -> None:
        self.granted: list[tuple[Warned, float]] = []
        self.full, self.broken = full, broken

    def grant(self, warned: Warned, until: float) -> bool:
        if self.broken:
            raise OSError("disk full")
        self.granted.append((warned, until))
        return not self.full


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def warnings(store: Store | None = None, clock: Clock | None = None) -> Warnings:
    return Warnings({A: Warn(link=300, proceed=3600)}, Sealer(KEY), store or Store(), clock or Clock())


def failed(**fields: Any) -> TaskNotes:
    conn = ConnNotes(ClientFacts("10.0.0.7", 1, "in"), tenant=A)
    conn.server_tls = TlsNotes(certificate=CERT, action="warn", warned=WARNED)
    known = {"target": Target("bad.test", 443), "scheme": "https", "method": "GET", "path": "/wanted?q=1", "navigation": True}
    notes = TaskNotes(conn, **(known | fields))
    notes.fail(Reason.UPSTREAM_CERT_EXPIRED, "yesterday")
    return notes


def token(made: Warnings, **fields: Any) -> str:
    offer = made.offer(failed(**fields))
    assert offer is not None
    return offer.token


def refusal(made: Warnings, text: str, asking: Warned = WARNED) -> Reason:
    with pytest.raises(PolicyError) as refused:
        made.go_on(text, asking)
    return refused.value.reason


def test_c2_going_on_is_granted_until_a_time_that_the_token_fixes() -> None:
    store, clock = Store(), Clock()
    made = warnings(store, clock)
    text = token(made)
    clock.now += 299
    gone = made.go_on(text, dataclasses.replace(WARNED, cause="", certificate=""))
    assert (gone.status, dict(gone.headers)["Location"]) == (303, "/wanted?q=1")
    assert store.granted == [(WARNED, 1_000.0 + 3600)]
    made.go_on(text, WARNED)
    assert store.granted[0] == store.granted[1]
    assert gone.detail == f"proceed granted: upstream_cert_expired, certificate {'ab' * 32}, until 1970-01-01T01:16:40Z"


@pytest.mark.security
def test_c2_a_token_ends() -> None:
    clock = Clock()
    made = warnings(clock=clock)
    text = token(made)
    clock.now += 300
    assert refusal(made, text) is Reason.PROCEED_EXPIRED
    clock.now = 999.0  # the clock was set back
    assert refusal(made, text) is Reason.PROCEED_INVALID


@pytest.mark.security
@pytest.mark.parametrize(
    "change",
    [{"tenant": TenantId("b")}, {"client": "10.0.0.8"}, {"user": "bob"}, {"user": ""}, {"host": "other.test"}, {"port": 8443}],
    ids=lambda change: next(iter(change)),
)
def test_c2_a_token_is_good_for_one_client_user_and_site(change: dict[str, Any]) -> None:
    store = Store()
    made = warnings(store)
    assert refusal(made, token(made), dataclasses.replace(WARNED, **change)) is Reason.PROCEED_FOREIGN
    assert not store.granted


@pytest.mark.security
def test_c2_another_key_makes_other_tokens() -> None:
    made = Warnings({A: Warn()}, Sealer(bytes(32)), Store(), Clock())
    assert refusal(warnings(), token(made)) is Reason.PROCEED_INVALID
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(b"short")


@pytest.mark.security
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.hex() + "." + data.hex()))
def test_c2_no_text_is_a_token(text: str) -> None:
    assert refusal(warnings(), text) is Reason.PROCEED_INVALID


@pytest.mark.security
@given(st.data())
def test_c2_every_changed_character_voids_a_token(data: st.DataObject) -> None:
    made = warnings()
    text = token(made)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABab01-_.").filter(lambda char: char != text[at]))
    assert refusal(made, text[:at] + other + text[at + 1 :]) is Reason.PROCEED_INVALID


def test_c2_a_token_that_is_too_long_is_not_read() -> None:
    text = Sealer(KEY).seal(Claim(WARNED, 1.0, 2_000.0, "/" + "x" * 5000))
    assert refusal(warnings(), text) is Reason.PROCEED_INVALID


def test_c2_what_cannot_be_kept_is_not_granted() -> None:
    for store in (Store(full=True), Store(broken=True)):
        made = warnings(store)
        assert refusal(made, token(made)) is Reason.PROCEED_FULL


@pytest.mark.parametrize(
    ("path", "back"),
    [("/a?b=c", "/a?b=c"), ("//evil.test/", "/"), ("/\\evil.test", "/"), ("/a b", "/"), ("/a\r\nX: 1", "/"), ("*", "/"),
     ("/" + "x" * 1024, "/"), ("/" + "x" * 1023, "/" + "x" * 1023), ("/ü", "/")],
)  # fmt: skip
def test_c2_a_redirect_stays_on_the_site(path: str, back: str) -> None:
    assert safe_path(path) == back


# -- who gets a button


def test_c2_only_a_person_whose_tenant_warns_gets_a_button() -> None:
    made = warnings()
    assert made.offer(failed()) is not None
    assert made.offer(failed(navigation=False)) is None
    other = failed()
    other.conn.tenant = TenantId("b")
    assert made.offer(other) is None
    assert not made.offers(TenantId("b"))
    blocked = failed()
    assert blocked.conn.server_tls is not None
    blocked.conn.server_tls.warned = None
    assert made.offer(blocked) is None
    blocked.conn.server_tls = None
    assert made.offer(blocked) is None


def test_c2_another_reason_has_no_button() -> None:
    """The page is about something else, although the server's certificate was bad as well."""
    notes = failed()
    notes.reason = Reason.HOST_DENIED
    assert warnings().offer(notes) is None


@pytest.mark.parametrize(
    ("method", "headers", "want"),
    [
        ("GET", {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, True),
        ("GET", {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, False),
        ("GET", {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image", "accept": "text/html"}, False),
        ("GET", {"accept": "text/html,*/*;q=0.8"}, True),
        ("GET", {"accept": "*/*"}, False),
        ("GET", {}, False),
        ("POST", {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, False),
    ],
)
def test_c2_what_a_navigation_is(method: str, headers: dict[str, str], want: bool) -> None:
    assert is_navigation(method, headers) is want


@pytest.mark.security
@pytest.mark.parametrize(
    ("headers", "want"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "https://bad.test"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "https://bad.test"}, True),
        ({"origin": "http://bad.test"}, False),
        ({"origin": "https://bad.test.evil.test"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
def test_c2_another_sites_form_is_no_button(headers: dict[str, str], want: bool) -> None:
    assert own_button(headers, "bad.test", 443) is want


def test_c2_an_origin_has_its_port() -> None:
    assert own_button({"origin": "https://bad.test:8443"}, "bad.test", 8443)
    assert not own_button({"origin": "https://bad.test"}, "bad.test", 8443)


# -- the page


def test_c2_the_page_has_the_certificate_and_one_button() -> None:
    page = PageMaker({}, lambda _: "", warnings().offer).page(failed(), "text/html")
    body, headers = page.body.decode(), dict(page.headers)
    assert page.status == 502
    assert "ab" * 32 in body
    assert "CN=&lt;b&gt;Evil&lt;/b&gt;" in body
    assert "1970-01-01 00:00 UTC to 1970-01-02 00:00 UTC" in body
    (action,) = re.findall(r'<form method="post" action="([^"]+)">', body)
    assert html.unescape(action).startswith(f"{BUTTON}?token=")
    assert "not asked again for 1 hour" in body
    assert "form-action 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("accept", ["text/plain", "application/json", "*/*"])
def test_c2_other_forms_name_the_certificate_and_have_no_token(accept: str) -> None:
    page = PageMaker({}, lambda _: "", warnings().offer).page(failed(), accept)
    assert b"token" not in page.body
    assert b"CN=bad.test" in page.body
    assert "form-action 'none'" in dict(page.headers)["Content-Security-Policy"]


def test_c2_a_page_about_something_else_tells_nothing_of_the_certificate() -> None:
    notes = failed()
    notes.reason = Reason.HOST_DENIED
    assert b"bad.test</dd>" not in PageMaker({}, lambda _: "").page(notes, "text/html").body.replace(b"https://", b"")
