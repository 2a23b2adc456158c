"""TLS-16: the onboarding page on the admin listener."""

import plistlib

import pytest

from tests.appliance.web.stage import DER, PEM, Stage


async def test_tls_16_the_page_offers_every_form(made: Stage) -> None:
    client = made.program()
    page = (await client.page("/tenants/acme/install")).text
    for text in ("Install the CA of Acme &lt;Corp&gt;", "AB:CD", "EF:01", "CN=Test &lt;CA&gt;", "http://arcus.internal/"):
        assert text in page
    for form, body in (("pem", PEM), ("cer", DER), ("der", DER), ("p12", b"p12")):
        assert f"/tenants/acme/install/arcus-ca.{form}" in page or form == "der"
        assert (await client.get(f"/tenants/acme/install/arcus-ca.{form}")).body == body
    profile = plistlib.loads((await client.get("/tenants/acme/install/arcus-ca.mobileconfig")).body)
    assert profile["PayloadContent"][0]["PayloadContent"] == DER


async def test_tls_16_the_lines_need_no_address(made: Stage) -> None:
    """The listener asks for a token, which has no place in a line that is pasted into a shell."""
    page = (await made.program().page("/tenants/acme/install")).text
    assert "cp arcus-ca.pem" in page
    assert "curl -fsS" not in page


NOT_THERE = [
    "/tenants/lost/install", "/tenants/other/install", "/tenants/acme/install/arcus-ca-2.pem",
    "/tenants/acme/install/arcus-ca.key", "/tenants/acme/install/..%2f..%2fadmin-token",
    "/tenants/lost/install/arcus-ca.pem",
]  # fmt: skip


@pytest.mark.security
@pytest.mark.parametrize("path", NOT_THERE)
async def test_tls_16_what_is_not_there(made: Stage, path: str) -> None:
    assert (await made.program().get(path)).status == 404


@pytest.mark.security
async def test_tls_16_only_who_is_signed_in(made: Stage) -> None:
    for path in ("/tenants/acme/install", "/tenants/acme/install/arcus-ca.pem"):
        assert (await made.client().get(path)).status == 401


async def test_tls_16_the_portals_style_and_script_are_served_here_too(made: Stage) -> None:
    for name, kind in {"portal.css": "text/css", "portal.js": "text/javascript"}.items():
        reply = await made.client().get(f"/static/{name}")
        assert (reply.status, reply.header("content-type").partition(";")[0]) == (200, kind)
