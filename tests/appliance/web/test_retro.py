"""D6: what was delivered and is bad, on pages and as JSON: who may see it, and that no tenant's filter shows another's."""

import json
from typing import Any

import pytest

from appliance.domain.retro import Finding
from appliance.retro.desk import RetroDesk
from appliance.storage.retro import RetroLedger
from appliance.storage.retro_search import RetroSearch
from tests.appliance.storage.test_retro import ONE, TWO, delivery, found
from tests.appliance.web.client import Client
from tests.appliance.web.stage import Stage, rebuilt

HOSTILE = "<script>alert(1)</script>"
JSON = {"content-type": "application/json"}


@pytest.fixture
def acts() -> list[Any]:
    return []


@pytest.fixture
def ledger(made: Stage) -> RetroLedger:
    ledger = RetroLedger(made.store)
    hostile = delivery("t1", url=f"https://a.test/{HOSTILE}", user=HOSTILE)
    ledger.observe([hostile, delivery("t2", tenant="lost"), delivery("t3", TWO, tenant="lost")], [])
    ledger.mark([Finding("acme", ONE, HOSTILE, "list x", "hashes/1", 200.0), found(TWO, "lost")])
    return ledger


@pytest.fixture
def client(made: Stage, ledger: RetroLedger, acts: list[Any]) -> Client:
    desk = RetroDesk(ledger, RetroSearch(made.store), ["acme", "lost"], acts.extend, made.services.clock)
    return rebuilt(made, retro=desk)


async def test_what_is_known_is_shown_and_cannot_run(client: Client) -> None:
    for path in ("/retro", f"/retro/acme/{ONE}", f"/retro?sha256={ONE}"):
        reply = await client.page(path)
        assert (reply.status, HOSTILE in reply.text, "&lt;script&gt;" in reply.text) == (200, False, True)
    one = (await client.get(f"/retro/acme/{ONE}.json")).json
    assert (one["verdict"], one["signature"], [flow["task"] for flow in one["flows"]]) == ("bad", HOSTILE, ["t1"])
    assert (await client.get(f"/api/v1/retro/acme/{ONE}")).json == one


@pytest.mark.security
async def test_a_tenants_filter_shows_nothing_of_another(client: Client) -> None:
    async def tenants(query: str) -> list[tuple[str, str]]:
        reply = (await client.get(f"/retro.json?{query}")).json
        assert [each["tenant"] for each in reply["status"]] == (["acme", "lost"] if "tenant=" not in query else [query[7:11]])
        return [(body["tenant"], body["sha256"]) for body in reply["bodies"]]

    assert sorted(await tenants("")) == [("acme", ONE), ("lost", TWO)]
    assert await tenants("tenant=acme") == [("acme", ONE)]
    assert await tenants(f"tenant=lost&sha256={ONE}") == [("lost", ONE)]
    assert await tenants(f"tenant=acme&sha256={TWO}") == []
    assert (await client.get(f"/retro/acme/{TWO}.json")).status == 404
    assert (await client.get(f"/retro/nobody/{TWO}.json")).status == 404


@pytest.mark.parametrize("query", ["sha256=x", "sha256=" + "g" * 64, "tenant=nobody"])
async def test_questions_that_are_none(client: Client, query: str) -> None:
    assert (await client.get(f"/api/v1/retro?{query}")).status == 400
    assert (await client.page(f"/retro?{query}")).status == 400


async def test_a_hunt_is_begun_and_recorded(client: Client, acts: list[Any], ledger: RetroLedger) -> None:
    reply = await client.request("POST", "/api/v1/retro/run", JSON, b'{"tenant": "acme"}')
    assert (reply.status, [each["tenant"] for each in reply.json]) == (200, ["acme"])
    assert [(act.tenant, act.on, str(act.by)) for act in acts] == [("acme", "retro", "admin from 127.0.0.1")]
    hunt = ledger.hunt("acme")
    assert hunt is not None
    assert (hunt.cause, ledger.hunt("lost")) == ("asked", None)
    assert (await client.request("POST", "/retro/run", JSON, b'{"tenant": "nobody"}')).status == 409


@pytest.mark.security
async def test_who_has_not_signed_in_sees_and_begins_nothing(made: Stage, client: Client, acts: list[Any]) -> None:
    del client.headers["authorization"]
    for path in ("/retro.json", f"/retro/acme/{ONE}.json", "/api/v1/retro"):
        assert (await client.get(path)).status == 401
    assert (await client.request("POST", "/api/v1/retro/run", JSON, b"{}")).status == 401
    client.headers["authorization"] = f"Bearer {made.token}"
    assert (await client.request("POST", "/retro/run", JSON | {"sec-fetch-site": "cross-site"}, b"{}")).status == 403
    assert acts == []


async def test_an_alert_has_its_flows_on_its_page(made: Stage, client: Client) -> None:
    from appliance.audit.finds import event_of

    [body] = RetroSearch(made.store).bodies([ONE], "acme")
    event = event_of(body, body.flows, 300.0)
    assert json.loads(json.dumps(event)) == event
    assert event_of(body, body.flows, 301.0)["id"] == event["id"] != event_of(body, (), 300.0)["id"]
    made.add([event])
    text = (await client.page(f"/audit/{event['id']}")).text
    assert '<a class="find" href="/audit/t1"' in text
    assert "Delivered 1: t1" in text
    listed = (await client.get("/audit.json?q=flows.task%3At1&range=all")).json["events"]
    assert [each["id"] for each in listed] == [event["id"]]
