"""Exclusions on pages and as JSON: what is shown, who may decide, and that decisions are recorded."""

import json
from typing import Any

import pytest

from appliance.domain.act import Actor
from appliance.domain.exclusion import Kind, State
from appliance.domain.learning import Entry, Evidence, Key, Record
from appliance.storage.exclusions import ExclusionStore
from tests.appliance.web.stage import Stage

JA4 = "t13d1516h2_8daaf6152771_e5627efa2ab1"
HOSTILE = "<script>alert(1)</script>"


def propose(made: Stage, host: str = "app.test", **changes: Any) -> str:
    now = made.clock.now()
    evidence = Evidence(6, ("10.0.0.1", "10.0.0.2"), 4, now - 600, now, {"unknown_ca": 6}, (HOSTILE,), 0, 3)
    values: dict[str, Any] = {
        "id": "01k9zq3v5m8x2t7h4n6p0r1s2d", "key": Key("acme", host, JA4, Kind.PINNED), "state": State.PROPOSED,
        "reason": "pinned: 6 handshakes of 2 clients", "retest": 100, "created_at": now, "decided_at": now,
        "decided_by": "policy", "until": now + 86_400, "evidence": evidence,
    }  # fmt: skip
    record = Record(**values | changes)
    assert ExclusionStore(made.store).add(record, Entry(record.id, now, Actor("policy"), "proposed", "", "e1"))
    return record.id


async def test_d5_a_proposal_is_shown_with_its_evidence(made: Stage) -> None:
    number = propose(made)
    client = await made.browser()
    listed = (await client.page("/exclusions")).text
    assert "app.test" in listed
    page = (await client.page(f"/exclusions/{number}")).text
    for text in ("10.0.0.1, 10.0.0.2", "unknown_ca: 6", "4 clients that are not known", JA4, "one connection of 100", "policy"):
        assert text in page, text
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


async def test_d5_decisions_are_recorded_with_who_took_them(made: Stage) -> None:
    number = propose(made)
    client = await made.browser()
    reply = await client.post(f"/exclusions/{number}/approve", sec_fetch_site="same-origin")
    assert (reply.status, reply.header("location")) == (303, f"/exclusions/{number}")
    program = made.program()
    reply = await program.request("POST", f"/api/v1/exclusions/{number}/remove")
    assert (reply.status, reply.json["state"]) == (200, "removed")
    found = (await program.get(f"/api/v1/exclusions/{number}")).json
    assert found == (await program.get(f"/exclusions/{number}.json")).json
    assert [(entry["action"], entry["actor"]) for entry in found["history"][1:]] == [
        ("approved", "admin from 127.0.0.1"),
        ("removed", "admin from 127.0.0.1"),
    ]
    reply = await program.request("POST", f"/api/v1/exclusions/{number}/approve")
    assert (reply.status, reply.json["error"]) == (409, "it is removed, not proposed")


@pytest.mark.security
async def test_d5_nobody_decides_without_signing_in_or_from_another_site(made: Stage) -> None:
    number = propose(made)
    path = f"/exclusions/{number}/approve"
    assert (await made.client().request("POST", f"/api/v1{path}")).status == 401
    browser = await made.browser()
    assert (await browser.post(path, sec_fetch_site="cross-site")).status == 403
    assert (await browser.post("/exclusions", {"tenant": "acme"}, origin="https://evil.test")).status == 403
    assert (await made.program().get(path)).status == 405
    assert (await made.program().get(f"/exclusions/{number}.json")).json["state"] == "proposed"


@pytest.mark.security
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"host": "never.test"}, 409),
        ({"host": "not a host"}, 409),
        ({"tenant": "lost"}, 409),
        ({"reason": ""}, 409),
        ({"fingerprint": "x"}, 409),
        ({"days": "-1"}, 422),
        ({"days": "9999999999"}, 409),
        ({"days": "two"}, 422),
    ],
)
async def test_d5_what_cannot_be_added_is_refused_with_a_hint(made: Stage, fields: dict[str, str], status: int) -> None:
    wanted = {"tenant": "acme", "host": "x.test", "reason": "why"} | fields
    body = json.dumps(wanted).encode()
    reply = await made.program().request("POST", "/api/v1/exclusions", {"content-type": "application/json"}, body)
    assert reply.status == status
    assert reply.json["advice"]
    assert (await made.program().get("/exclusions.json")).json == {"exclusions": []}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"tenant": 1}', b"[" * 5000])
async def test_a_body_that_is_no_object_of_texts_is_refused(made: Stage, body: bytes) -> None:
    reply = await made.program().request("POST", "/api/v1/exclusions", {"content-type": "application/json"}, body)
    assert reply.status == 409


async def test_d5_added_by_form_and_listed_by_tenant(made: Stage) -> None:
    client = await made.browser()
    fields = {"tenant": "acme", "host": "Own.Test", "reason": "vendor", "fingerprint": JA4, "days": "2"}
    reply = await client.post("/exclusions", fields, sec_fetch_site="same-origin")
    assert reply.status == 303
    (found,) = (await made.program().get("/exclusions.json?tenant=acme")).json["exclusions"]
    assert (found["host"], found["kind"], found["state"]) == ("own.test", "manual", "active")
    assert found["until"] == made.clock.now() + 2 * 86_400
    assert (await made.program().get("/exclusions.json?tenant=other")).json == {"exclusions": []}


async def test_what_is_not_there(made: Stage) -> None:
    assert (await made.program().get("/exclusions/none")).status == 404
    assert (await made.program().get("/exclusions/none.json")).status == 404
    assert (await made.program().request("POST", "/exclusions/none/approve")).status == 409
    assert (await made.program().request("POST", f"/exclusions/{propose(made)}/dance")).status == 404
