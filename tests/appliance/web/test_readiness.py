"""Who accepts the next CA, on a page and as JSON: one tenant's clients, and what the whole CA still waits for (D8)."""

import pytest

from appliance.domain.readiness import Client as Seen
from appliance.domain.readiness import Readiness
from appliance.storage.sqlite import StoreError
from appliance.web import readiness
from tests.appliance.audit.samples import START
from tests.appliance.web.stage import Stage, rebuilt

HOSTILE = "<script>alert(1)</script>"
FOUND = Readiness((
    Seen("acme", "10.0.0.1", "refused", START, "alice", HOSTILE),
    Seen("acme", "10.0.0.2", "unseen", START),
    Seen("other", "10.9.9.9", "unseen", START, "mallory"),
    Seen("acme", "10.0.0.3", "ready", START),
))  # fmt: skip
PAGE, JSON = "/tenants/acme/readiness", "/tenants/acme/readiness.json"


def of_main(ca: str) -> Readiness | None:
    return FOUND if ca == "main" else None


async def test_the_tenants_page_leads_to_it(made: Stage) -> None:
    assert f'href="{PAGE}"' in (await made.program().page("/tenants")).text


async def test_d8_who_is_not_ready_is_named_with_what_is_known(made: Stage) -> None:
    page = (await rebuilt(made, readiness=of_main).page(PAGE)).text
    for text in ("1 of 3 clients", "1 of 4", "10.0.0.1", "alice", "was shown the next CA and refused it", "10.0.0.2"):
        assert text in page, text
    assert HOSTILE not in page
    assert "10.0.0.3" not in page


async def test_d8_the_json_has_every_client(made: Stage) -> None:
    client = rebuilt(made, readiness=of_main)
    found = (await client.get(JSON)).json
    assert found == (await client.get("/api/v1/tenants/acme/readiness")).json
    counts = ("rotating", "ca", "ready", "clients", "ca_ready", "ca_clients")
    assert [found[name] for name in counts] == [True, "main", 1, 3, 1, 4]
    assert [each["state"] for each in found["details"]] == ["refused", "unseen", "ready"]


@pytest.mark.security
async def test_d8_no_other_tenants_clients_are_shown(made: Stage) -> None:
    client = rebuilt(made, readiness=of_main)
    for path in (PAGE, JSON):
        text = (await client.get(path)).text
        assert "10.9.9.9" not in text
        assert "mallory" not in text


async def test_d8_a_long_list_is_cut_on_the_page_alone(made: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "MAX_SHOWN", 1)
    client = rebuilt(made, readiness=of_main)
    page = (await client.page(PAGE)).text
    assert "10.0.0.1" in page
    assert "10.0.0.2" not in page
    assert "And 1 more" in page
    assert "10.0.0.2" in (await client.get(JSON)).text


async def test_d8_when_all_are_ready_or_nobody_was_seen_the_page_says_what_to_do(made: Stage) -> None:
    done = Readiness((Seen("acme", "10.0.0.3", "ready", START),))
    assert "arcus ca switch --tenant acme" in (await rebuilt(made, readiness=lambda _: done).page(PAGE)).text
    assert "None has been seen" in (await rebuilt(made, readiness=lambda _: Readiness(())).page(PAGE)).text


async def test_d8_without_a_rotation_or_a_ca_there_is_nothing_to_be_ready_for(made: Stage) -> None:
    client = made.program()
    assert "is not being replaced" in (await client.page(PAGE)).text
    assert (await client.get(JSON)).json == {"tenant_id": "acme", "ca": "main", "rotating": False}
    assert "could not be read" in (await client.page("/tenants/lost/readiness")).text
    assert (await client.get("/tenants/lost/readiness.json")).json["ca"] is None


@pytest.mark.security
async def test_d8_it_asks_for_a_sign_in_and_knows_its_tenants_only(made: Stage) -> None:
    assert (await made.client().get(JSON)).status == 401
    assert (await made.program().get("/tenants/nobody/readiness.json")).status == 404
    assert (await made.program().get("/tenants/nobody/readiness")).status == 404


async def test_a_store_that_fails_is_told(made: Stage) -> None:
    def broken(_: str) -> Readiness:
        raise StoreError("locked")

    assert (await rebuilt(made, readiness=broken).get(JSON)).status == 503
