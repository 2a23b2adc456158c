import pytest

from tests.appliance.web.stage import DER, PEM, Stage


async def test_tenants_page_and_twin(made: Stage) -> None:
    client = made.program()
    page = (await client.page("/tenants")).text
    for text in ("Acme &lt;Corp&gt;", "10.0.0.0/8", ".acme.test", "AB:CD", "CN=Test CA", "suspended", "could not be read"):
        assert text in page
    twin = (await client.get("/tenants.json")).json
    assert twin == (await client.get("/api/v1/tenants")).json
    acme, lost = twin["tenants"]
    assert acme["ca"]["sha256"] == "AB:CD"
    assert lost["ca"] is None
    assert (await client.get(acme["ca"]["pem"])).body == PEM
    assert (await client.get(acme["ca"]["der"])).body == DER


async def test_ca_download_is_a_file_for_a_trust_store(made: Stage) -> None:
    client = made.program()
    pem, der = await client.get("/ca/acme.pem"), await client.get("/ca/acme.der")
    assert (pem.header("content-type"), der.header("content-type")) == ("application/x-pem-file", "application/pkix-cert")
    assert pem.header("content-disposition") == 'attachment; filename="arcus-acme-ca.pem"'


TRAVERSAL = [
    "../../etc/passwd", "..%2f..%2fadmin-token", "%2e%2e%2fadmin-token", "acme.key", "acme", "acme.pem/..", "..", ".pem",
    "acme.pem%00.der", "acme.pem.pem", "ACME.pem", "lost.pem", "other.pem", "key.pem", "acme.p12", "app.css%00", "..\\app.css",
    "../templates/frame.html", "%2e%2e/app.py", "/etc/passwd",
]  # fmt: skip


@pytest.mark.security
@pytest.mark.parametrize("name", TRAVERSAL)
@pytest.mark.parametrize("folder", ["ca", "static"])
async def test_path_traversal_finds_nothing(made: Stage, folder: str, name: str) -> None:
    reply = await made.program().get(f"/{folder}/{name}")
    assert reply.status == 404
    assert reply.json["advice"]


async def test_static_files_are_what_they_say(made: Stage) -> None:
    types = {"app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}
    for name, kind in types.items():
        reply = await made.client().get(f"/static/{name}")
        assert reply.status == 200
        assert reply.header("content-type").startswith(kind)
