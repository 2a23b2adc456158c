from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from appliance.web.login import local_path
from appliance.web.sessions import COOKIE, IDLE, LIFETIME, Sessions
from tests.appliance.web.client import Client
from tests.appliance.web.stage import Stage, events, every_route

pytestmark = pytest.mark.security

OPEN = {"/login", "/health", "/ready", "/metrics", "/static/{name}", "/pki/{rest:path}"}
FILLED = {
    "id": "x", "action": "approve", "event_id": "01m7wp7b1h6fk7mwzbsrw00000", "file": "acme.pem", "name": "app.css",
    "rest": "x", "tenant_id": "acme", "tenant": "acme", "sha256": "a" * 64,
}  # fmt: skip


async def test_every_route_is_closed_unless_it_is_named_here(made: Stage) -> None:
    made.add(events(1))
    for route in every_route(made):
        for method in route.methods or ():
            path = route.path_format.format(**FILLED)
            reply = await made.client().request(method, path)
            page = await made.client().request(method, path, {"accept": "text/html"})
            if route.path in OPEN:
                assert reply.status in (200, 415), path
            else:
                assert reply.status == 401, path
                assert reply.header("www-authenticate") == 'Bearer realm="Arcus"'
                assert page.status in (303, 401), path
                assert b"acme" not in reply.body + page.body


async def test_a_path_that_does_not_exist_says_nothing_without_a_token(made: Stage) -> None:
    assert (await made.client().get("/nothing")).status == 401
    assert (await made.program().get("/nothing")).status == 404


@pytest.mark.parametrize(
    "path",
    ["/static/../audit.json", "/static/%2e%2e/audit.json", "//audit.json", "/login/../audit.json", "/health/", "/Audit.json"],
)
async def test_no_spelling_of_a_path_gets_around_the_sign_in(made: Stage, path: str) -> None:
    made.add(events(1))
    reply = await made.client().get(path)
    assert reply.status in (401, 404)
    assert b"example.com" not in reply.body


async def test_browsers_are_sent_to_the_login_and_back(made: Stage) -> None:
    reply = await made.client().page("/audit?q=host%3Aa&range=all")
    assert reply.status == 303
    target = reply.header("location")
    assert parse_qs(urlsplit(target).query)["next"] == ["/audit?q=host%3Aa&range=all"]
    client = made.client()
    form = await client.page(target)
    assert 'name="next" value="/audit?q=host%3Aa&amp;range=all"' in form.text
    done = await client.post("/login", {"token": made.token, "next": "/audit?q=host%3Aa&range=all"})
    assert (done.status, done.header("location")) == (303, "/audit?q=host%3Aa&range=all")
    assert (await client.page("/audit")).status == 200


async def test_bearer_token(made: Stage) -> None:
    assert (await made.program().get("/audit.json")).status == 200
    assert (await made.program().get("/audit.json", authorization=f"bearer  {made.token} ")).status == 200


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer x", "Basic {}", "{}", "Bearer {}x", "Bearer {} {}", "Bearer \xff"]
)
async def test_a_wrong_bearer_token_is_401(made: Stage, header: str) -> None:
    reply = await made.client().get("/audit.json", authorization=header.format(made.token, made.token))
    assert reply.status == 401
    assert reply.json["advice"]
    assert made.token not in reply.text


async def test_a_wrong_bearer_token_is_not_saved_by_a_session(made: Stage) -> None:
    browser = await made.browser()
    assert (await browser.get("/audit.json", authorization="Bearer x")).status == 401


async def test_cookie_flags(made: Stage) -> None:
    client = made.client()
    reply = await client.post("/login", {"token": made.token})
    parts = {part.strip().lower() for part in reply.header("set-cookie").split(";")}
    assert {"httponly", "samesite=strict", "path=/", f"max-age={int(LIFETIME)}"} <= parts
    assert not any(part.startswith("domain") for part in parts)
    assert made.token not in reply.header("set-cookie")


async def test_no_session_before_the_login(made: Stage) -> None:
    for path in ("/login", "/audit", "/health"):
        assert (await made.client().page(path)).header("set-cookie") == ""


async def test_session_fixation_an_id_brought_along_is_never_adopted(made: Stage) -> None:
    client = made.client()
    client.cookies[COOKIE] = "chosen-by-the-attacker"
    await client.post("/login", {"token": made.token}, sec_fetch_site="same-origin")
    assert client.cookies[COOKIE] != "chosen-by-the-attacker"
    attacker = made.client()
    attacker.cookies[COOKIE] = "chosen-by-the-attacker"
    assert (await attacker.page("/audit")).status == 303


async def test_each_login_has_a_new_id_and_ends_the_old_one(made: Stage) -> None:
    browser = await made.browser()
    old = made.client()
    old.cookies = dict(browser.cookies)
    await browser.post("/login", {"token": made.token}, sec_fetch_site="same-origin")
    assert browser.cookies != old.cookies
    assert (await browser.page("/audit")).status == 200
    assert (await old.page("/audit")).status == 303


async def test_logout_ends_the_session_on_our_side(made: Stage) -> None:
    browser = await made.browser()
    copy = made.client()
    copy.cookies = dict(browser.cookies)
    assert (await browser.post("/logout", origin="http://127.0.0.1:9090")).status == 303
    assert browser.cookies == {}
    assert (await copy.page("/audit")).status == 303


async def test_logout_by_get_is_no_logout(made: Stage) -> None:
    browser = await made.browser()
    assert (await browser.page("/logout")).status == 405
    assert (await browser.page("/audit")).status == 200


async def test_sessions_end_when_idle_and_when_old(made: Stage) -> None:
    browser = await made.browser()
    made.clock.advance(IDLE)
    assert (await browser.page("/audit")).status == 200
    made.clock.advance(IDLE + 1)
    assert (await browser.page("/audit")).status == 303
    browser = await made.browser()
    for _ in range(int(LIFETIME / IDLE)):
        made.clock.advance(IDLE)
        assert (await browser.page("/audit")).status == 200
    made.clock.advance(1)
    assert (await browser.page("/audit")).status == 303


def test_sessions_are_bounded_and_the_one_idle_for_longest_goes() -> None:
    sessions = Sessions(ManualClock(), capacity=2)
    first, second = sessions.open(), sessions.open()
    assert sessions.alive(first)
    third = sessions.open()
    assert [sessions.alive(token) for token in (first, second, third)] == [True, False, True]


async def guess(client: Client, how: str) -> int:
    if how == "form":
        return (await client.post("/login", {"token": "guess"})).status
    return (await client.get("/audit.json", authorization="Bearer guess")).status


@pytest.mark.parametrize("how", ["form", "bearer"])
async def test_brute_force_is_429_after_ten_failures_in_a_minute(made: Stage, how: str) -> None:
    client = made.client("192.0.2.9")
    assert [await guess(client, how) for _ in range(10)] == [401] * 10
    limited = await client.get("/audit.json", authorization=f"Bearer {made.token}")
    assert limited.status == 429, "even with the right token: an answer would be a guess"
    assert 0 < int(limited.header("retry-after")) <= 61
    assert await guess(made.client("192.0.2.10"), how) == 401, "another address has its own count"
    made.clock.advance(61)
    assert (await client.get("/audit.json", authorization=f"Bearer {made.token}")).status == 200


async def test_brute_force_from_one_address_does_not_lock_out_who_is_in(made: Stage) -> None:
    browser, program = await made.browser(), made.program()
    assert (await program.get("/audit.json")).status == 200
    for _ in range(11):
        await guess(made.client(), "bearer")
    assert (await browser.page("/audit")).status == 200
    assert (await program.get("/audit.json")).status == 200


async def test_brute_force_forwarded_for_is_not_believed(made: Stage) -> None:
    client = made.client()
    statuses = []
    for number in range(11):
        header = {"x_forwarded_for": f"198.51.100.{number}"}
        statuses.append((await client.get("/audit.json", authorization="Bearer guess", **header)).status)
    assert statuses[-1] == 429


@pytest.mark.parametrize(
    "target", ["//evil.test", "/\\evil.test", "https://evil.test", "evil", "", "/\t/evil.test", "/ä", "\\\\evil"]
)
def test_after_the_login_nobody_goes_to_another_host(target: str) -> None:
    assert local_path(target) == "/audit"


@given(st.text())
def test_local_path_gives_a_path_of_ours(text: str) -> None:
    path = local_path(text)
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))
    assert not urlsplit(path).netloc


async def test_login_bodies_that_are_no_form_are_refused(made: Stage) -> None:
    client = made.client()
    assert (await client.request("POST", "/login", {"content-type": "multipart/form-data; boundary=x"}, b"--x")).status == 415
    assert (await client.request("POST", "/login", {"content-type": "application/json"}, b"{}")).status == 415
    strange = {"content-type": "application/x-www-form-urlencoded"}
    assert (await client.request("POST", "/login", strange, b"a=1&" * 100 + b"\xff\xfe=%ff")).status == 401
    assert (await client.request("POST", "/login", strange, b"token=" + b"a" * 17_000)).status == 413


async def test_a_wrong_token_is_a_page_that_says_what_to_do(made: Stage) -> None:
    reply = await made.client().post("/login", {"token": "<b>wrong"})
    assert reply.status == 401
    assert "not right" in reply.text
    assert "admin-token" in reply.text
    assert "<b>" not in reply.text
