"""The quarantine on pages and as JSON: who may see and decide, and that a release can do no harm in a browser."""

from pathlib import Path
from typing import Any

import pytest

from tests.appliance.quarantine.place import Place
from tests.appliance.web.client import Client
from tests.appliance.web.stage import Stage, rebuilt

HOSTILE = "<script>alert(1)</script>"
BODY = b"<script>virus</script>" * 10_000
JSON = {"content-type": "application/json"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "held")


@pytest.fixture
def client(made: Stage, place: Place) -> Client:
    return rebuilt(made, quarantine=place.desk)


async def post(client: Client, path: str, reason: str = "ticket 1") -> Any:
    return await client.request("POST", path, JSON, b'{"reason": "%s"}' % reason.encode())


async def test_what_is_known_is_shown_and_cannot_run(client: Client, place: Place) -> None:
    number, _ = place.keep(BODY, signature=HOSTILE)
    for path in ("/quarantine", f"/quarantine/acme/{number}"):
        reply = await client.page(path)
        assert (reply.status, HOSTILE in reply.text, "&lt;script&gt;" in reply.text) == (200, False, True)
    one = (await client.get(f"/quarantine/acme/{number}.json")).json
    assert (one["id"], one["signature"], one["size"]) == (number, HOSTILE, len(BODY))
    assert (await client.get("/quarantine.json?tenant=acme")).json == {"items": [one]}
    assert (await client.get("/api/v1/quarantine")).json == {"items": [one]}


@pytest.mark.security
async def test_a_release_is_a_download_that_no_browser_runs(client: Client, place: Place) -> None:
    number, _ = place.keep(BODY)
    reply = await post(client, f"/quarantine/acme/{number}/release")
    assert (reply.status, reply.body) == (200, BODY)
    assert reply.header("content-type") == "application/octet-stream"
    assert reply.header("content-disposition") == f'attachment; filename="{number}.quarantined"'
    assert reply.header("content-security-policy") == "default-src 'none'; sandbox"
    assert reply.header("x-content-type-options") == "nosniff"
    (act,) = place.acts
    assert (act.verb, act.subject, act.note, str(act.by)) == ("released", number, "ticket 1", "admin from 127.0.0.1")


async def test_delete(client: Client, place: Place) -> None:
    number, _ = place.keep(BODY)
    reply = await post(client, f"/api/v1/quarantine/acme/{number}/delete")
    assert (reply.status, reply.json["id"]) == (200, number)
    assert (await client.get(f"/quarantine/acme/{number}.json")).status == 404
    assert (await post(client, f"/quarantine/acme/{number}/delete")).status == 409
    assert [act.verb for act in place.acts] == ["deleted"]


@pytest.mark.security
@pytest.mark.parametrize("action", ["release", "delete"])
async def test_what_may_not_be_is_refused_and_nothing_is_given_out(client: Client, place: Place, action: str) -> None:
    number, _ = place.keep(BODY)
    place.cabinet("blue")
    for path, reason, status in (
        (f"/quarantine/acme/{number}", " ", 409),
        (f"/quarantine/blue/{number}", "x", 409),
        (f"/quarantine/nobody/{number}", "x", 409),
        ("/quarantine/acme/..%2f..%2fkeys", "x", 404),
        ("/quarantine/acme/%2e%2e", "x", 409),
    ):
        reply = await post(client, f"{path}/{action}", reason)
        assert (reply.status, b"virus" in reply.body) == (status, False), path
    place.deaf = True
    assert (await post(client, f"/quarantine/acme/{number}/{action}")).status == 503
    assert (place.acts, place.ids()) == ([], [number])


@pytest.mark.security
async def test_a_damaged_body_is_not_given_out(client: Client, place: Place) -> None:
    number, _ = place.keep(BODY)
    data = place.file(number).read_bytes()
    place.file(number).write_bytes(data[:-1])
    reply = await post(client, f"/quarantine/acme/{number}/release")
    assert (reply.status, place.acts) == (409, [])
    assert "virus" not in reply.text


@pytest.mark.security
async def test_nobody_gets_in_without_the_token_or_from_another_site(made: Stage, client: Client, place: Place) -> None:
    number, _ = place.keep(BODY)
    del client.headers["authorization"]
    for path in ("/quarantine.json", f"/quarantine/acme/{number}.json"):
        assert (await client.get(path)).status == 401
    assert (await post(client, f"/quarantine/acme/{number}/release")).status == 401
    client.headers["authorization"] = f"Bearer {made.token}"
    reply = await client.request("POST", f"/quarantine/acme/{number}/delete", JSON | {"sec-fetch-site": "cross-site"}, b"{}")
    assert (reply.status, place.ids()) == (403, [number])
    assert (await client.get(f"/quarantine/acme/{number}/release")).status == 405
