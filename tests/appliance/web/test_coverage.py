"""D3: what was not inspected, as a page and as JSON."""

import json
from typing import Any

import pytest

from appliance.storage.coverage import HOUR
from appliance.storage.sqlite import StoreError
from appliance.web.coverage import MEANINGS
from tests.appliance.audit.samples import START
from tests.appliance.web.client import Client
from tests.appliance.web.stage import Stage, rebuilt

HOSTILE = "<script>alert(1)</script>"


def add(made: Stage, number: int, host: str, coverage: dict[str, int], **fields: Any) -> None:
    known = {"id": f"{number:026d}", "tenant_id": "acme", "user_id": "alice", "destination_host": host, "created_at": START}
    event = known | {"coverage": coverage} | fields
    made.store.append([(event, json.dumps(event))])


@pytest.fixture
def client(made: Stage) -> Client:
    add(made, 1, "bank.test", {"request: spliced rule": 1000, "response: spliced rule": 9000})
    add(made, 2, "big.test", {"response: scanned": 3000, "response: not_scanned too_large": 1000})
    add(made, 3, "big.test", {"response: blocked": 10, "response: own": 500})
    add(made, 4, "secret.test", {"response: spliced shipped": 77_777}, tenant_id="other", user_id="mallory")
    return made.program()


async def test_d3_the_page_names_what_was_not_inspected_worst_first(client: Client) -> None:
    page = (await client.page("/coverage?tenant=acme")).text
    assert "What did we not inspect?" in page
    assert page.index("bank.test") < page.index("big.test")
    for text in (
        "spliced rule",
        "not_scanned too_large",
        "75.0 %",
        MEANINGS["spliced rule"],
        MEANINGS["not_scanned too_large"],
    ):
        assert text in page, text
    assert 'href="/coverage?tenant=acme&amp;sort=share"' in page


async def test_d3_the_json_adds_up(client: Client) -> None:
    found = (await client.get("/coverage.json?tenant=acme")).json
    assert found == (await client.get("/api/v1/coverage?tenant=acme")).json
    assert [line["name"] for line in found["lines"]] == ["bank.test", "big.test"]
    assert found["whole"]["bytes"] == sum(line["bytes"] for line in found["lines"]) == 14_510
    for line in (found["whole"], *found["lines"]):
        assert (
            line["bytes"] == line["scanned"] + line["not_inspected"] + line["other"] == sum(p["bytes"] for p in line["parts"])
        )
    assert found["since"] % HOUR == found["until"] % HOUR == 0


async def test_d3_by_user_tenant_and_bucket(client: Client) -> None:
    users = (await client.get("/coverage.json?by=user")).json
    assert [line["name"] for line in users["lines"]] == ["mallory", "alice"]
    tenants = (await client.get("/coverage.json?by=tenant&sort=bytes&limit=1")).json
    assert [line["name"] for line in tenants["lines"]] == ["other"]
    assert (await client.get("/coverage.json?by=bucket")).json["lines"] == []


@pytest.mark.security
@pytest.mark.parametrize("by", ["host", "user", "tenant", "bucket"])
async def test_d3_nothing_of_another_tenant_is_shown(client: Client, by: str) -> None:
    for path in ("/coverage", "/coverage.json", "/api/v1/coverage"):
        text = (await client.page(f"{path}?tenant=acme&by={by}")).text
        for other in ("secret.test", "mallory", "shipped</a>", "spliced shipped", "77777", '"other"', "76.0 KB"):
            assert other not in text.replace('"other": 510', "").replace('"other": 0', ""), (path, other)


@pytest.mark.security
@pytest.mark.parametrize("path", ["/coverage", "/coverage.json", "/api/v1/coverage"])
async def test_d3_nobody_sees_it_without_the_token(made: Stage, path: str) -> None:
    assert (await made.client().get(path)).status in (303, 401)


@pytest.mark.parametrize(
    "question",
    ["by=path", "sort=name", "since=yesterday", "until=now-x", "limit=0", "limit=1001", "limit=x", "since=-5", "until=1e300"],
)
async def test_a_question_that_cannot_be_understood_is_told(client: Client, question: str) -> None:
    reply = await client.get(f"/coverage.json?{question}")
    assert reply.status == 400
    assert question.partition("=")[0] in reply.json["error"] or "sort" in question
    assert (await client.page(f"/coverage?{question}")).status == 400


async def test_an_empty_ledger_says_so(made: Stage) -> None:
    page = (await made.program().page("/coverage")).text
    assert "Nothing was counted in this time." in page
    assert (await made.program().get("/coverage.json")).json["whole"]["share"] is None


@pytest.mark.security
async def test_hosts_users_and_parameters_cannot_write_into_the_page(made: Stage) -> None:
    add(made, 1, HOSTILE, {f"response: spliced {HOSTILE}": 5}, user_id=HOSTILE)
    for by in ("host", "user"):
        page = await made.program().page(f"/coverage?by={by}&since=now-1w%22%3E%3Cscript%3E")
        assert page.status == 400
        page = await made.program().page(f"/coverage?by={by}&tenant=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
        assert HOSTILE not in page.text
        assert HOSTILE not in (await made.program().page(f"/coverage?by={by}")).text


async def test_a_store_that_fails_is_told(made: Stage) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise StoreError("the query took too long")

    assert (await rebuilt(made, coverage=broken).get("/coverage.json")).status == 503


async def test_without_a_ledger_there_is_no_page(made: Stage) -> None:
    assert (await rebuilt(made, coverage=None).get("/coverage.json")).status == 404
