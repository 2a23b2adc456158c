import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.web.guard import host_part
from appliance.web.services import HostNames
from tests.appliance.web.client import HTML, Client
from tests.appliance.web.stage import Stage, rebuilt

pytestmark = pytest.mark.security

SAFE = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:9090", "localhost:1", "LOCALHOST", "arcus.example.com.", "localhost."]
)
async def test_our_names_are_served(made: Stage, host: str) -> None:
    assert (await made.client().get("/health", host=host)).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.test", "127.0.0.1.evil.test", "localhost.evil.test:9090", "10.0.0.1", "evil.test@127.0.0.1", "[::1", "a b", "127.1"],
)
async def test_other_names_are_refused_before_the_token_is_looked_at(made: Stage, host: str) -> None:
    reply = await made.program().get("/audit.json", host=host)
    assert reply.status == 421
    assert "admin.names" in reply.json["advice"]


async def test_no_host_and_two_hosts_are_refused(made: Stage) -> None:
    client = made.client()
    assert (await client.send("GET", "/health", [])).status == 421
    assert (await client.send("GET", "/health", [(b"host", b"localhost"), (b"host", b"localhost")])).status == 421


async def test_a_listener_on_all_addresses_takes_addresses_and_no_names(made: Stage) -> None:
    client = rebuilt(made, hosts=HostNames(frozenset({"localhost"}), any_address=True))
    assert (await client.get("/health", host="192.0.2.7:9090")).status == 200
    assert (await client.get("/health", host="[2001:db8::7]:9090")).status == 200
    assert (await client.get("/health", host="evil.test")).status == 421


@given(st.text())
def test_host_part_takes_any_text(text: str) -> None:
    part = host_part(text)
    assert part == part.lower()
    if not text.strip().startswith("["):
        assert ":" not in part


@pytest.mark.parametrize("path", ["/login", "/audit", "/health", "/nothing", "/static/none", "/ca/acme.pem", "/metrics"])
@pytest.mark.parametrize("signed_in", [True, False])
async def test_every_answer_has_the_headers(made: Stage, path: str, signed_in: bool) -> None:
    client = made.program() if signed_in else made.client()
    for reply in (await client.page(path), await client.get(path, host="evil.test"), await client.request("PUT", path)):
        assert {name: reply.header(name) for name in SAFE} == SAFE
        policy = reply.header("content-security-policy")
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "server" not in dict(reply.headers)


async def test_static_files_may_be_kept_but_are_asked_for_again(made: Stage) -> None:
    assert (await made.client().get("/static/app.js")).header("cache-control") == "no-cache"


OURS = "http://127.0.0.1:9090"


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"sec_fetch_site": "same-origin", "origin": OURS}, True),
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "none"}, True),
        ({"origin": OURS}, True),
        ({"origin": "https://127.0.0.1:9090"}, True),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site", "origin": OURS}, False),
        ({"sec_fetch_site": "same-origin", "origin": "http://evil.test"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://127.0.0.1:9091"}, False),
        ({"origin": "http://127.0.0.1:9090.evil.test"}, False),
        ({"origin": "ftp://127.0.0.1:9090"}, False),
        ({}, False),
    ],
)
async def test_csrf_unsafe_methods_need_our_origin(made: Stage, headers: dict[str, str], passes: bool) -> None:
    browser = await made.browser()
    reply = await browser.post("/logout", None, **headers)
    assert reply.status == (303 if passes else 403)
    assert bool(browser.cookies) is not passes, "refused means: still signed in"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/audit", "/audit.json", "/login", "/logout", "/health", "/tenants", "/nothing"])
async def test_csrf_every_unsafe_method_on_every_path(made: Stage, method: str, path: str) -> None:
    browser = await made.browser()
    reply = await browser.request(method, path, HTML | {"origin": "http://evil.test"})
    assert reply.status == 403
    assert "another site" in reply.text


async def test_csrf_login_from_another_site_is_refused_with_the_right_token(made: Stage) -> None:
    client = made.client()
    reply = await client.post("/login", {"token": made.token}, origin="http://evil.test")
    assert reply.status == 403
    assert client.cookies == {}


async def test_a_program_without_cookies_needs_no_origin(made: Stage) -> None:
    client = made.client()
    assert (await client.post("/login", {"token": made.token})).status == 303


async def test_other_schemes_of_asgi_are_not_answered(made: Stage) -> None:
    sent: list[object] = []

    async def send(message: object) -> None:
        sent.append(message)

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    await Client(made.app).app({"type": "websocket", "path": "/audit", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1003}]
