"""D6: the ledger of what was delivered: taken in once, bounded, and apart for each tenant."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import TextClause, text

from appliance.domain.retro import Body, Delivery, Finding, Limit, Verdict
from appliance.storage import retro, retro_samples
from appliance.storage.retro import END, RetroLedger
from appliance.storage.retro_samples import RetroSamples
from appliance.storage.retro_search import RetroSearch
from appliance.storage.sqlite import SqliteStore

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "audit.db")
    yield store
    store.close()


@pytest.fixture
def ledger(store: SqliteStore) -> RetroLedger:
    return RetroLedger(store)


@pytest.fixture
def search(store: SqliteStore) -> RetroSearch:
    return RetroSearch(store)


def delivery(task: str = "t1", sha256: str = ONE, tenant: str = "acme", at: float = 100.0, **more: object) -> Delivery:
    made = Delivery(tenant, sha256, 5, task, at, "response", "ann", "10.0.0.1", "a.test", "https://a.test/x", judged_at=at)
    return replace(made, **more)  # type: ignore[arg-type]


def found(sha256: str = ONE, tenant: str = "acme", at: float = 200.0) -> Finding:
    return Finding(tenant, sha256, "Evil", "list x", "hashes/1", at)


def test_d6_the_same_delivery_twice_is_one(ledger: RetroLedger, search: RetroSearch) -> None:
    for _ in range(2):
        ledger.observe([delivery("t1", at=100), delivery("t2", at=90)], [])
    [body] = search.bodies([ONE])
    assert (body.deliveries, body.first_at, body.last_at, body.verdict) == (2, 90, 100, Verdict.CLEAN)
    assert [flow.task for flow in body.flows] == ["t1", "t2"]
    flow = body.flows[0]
    assert (flow.user, flow.client, flow.host, flow.url, flow.side) == (
        "ann",
        "10.0.0.1",
        "a.test",
        "https://a.test/x",
        "response",
    )


def test_d6_the_newest_verdict_counts_and_a_whole_hash_outweighs_a_limited_one(
    ledger: RetroLedger, search: RetroSearch
) -> None:
    ledger.observe([delivery("t1", engine="new", limits=(Limit.PACKED,))], [])
    ledger.observe([delivery("t2", engine="old", judged_at=50.0, limits=(Limit.PACKED,))], [])
    assert [(body.engine, body.limits) for body in search.bodies([ONE])] == [("new", (Limit.PACKED,))]
    ledger.observe([delivery("t3", engine="newer", judged_at=150.0)], [])
    assert [(body.engine, body.limits, body.judged_at) for body in search.bodies([ONE])] == [("newer", (), 150.0)]


def test_d6_what_is_bad_stays_bad(ledger: RetroLedger, search: RetroSearch) -> None:
    ledger.observe([delivery()], [])
    assert ledger.observe([], [found(), found(TWO)]) == 1
    assert ledger.mark([found()]) == 0
    ledger.observe([delivery("t2", at=300, engine="clean again")], [])
    [body] = search.found()
    assert (body.verdict, body.signature, body.found_by, body.found_at, body.engine) == (
        Verdict.BAD, "Evil", "list x", 200.0, "hashes/1",
    )  # fmt: skip
    assert body.deliveries == 2


def test_d6_flows_are_told_once_and_later_ones_again(ledger: RetroLedger) -> None:
    ledger.observe([delivery("t2", at=2), delivery("t1", at=1), delivery("t9", TWO)], [found()])
    assert ledger.untold("acme", 10) == [ONE]
    first = ledger.untold_flows("acme", ONE, 1)
    assert [flow.task for flow in first] == ["t1"]
    ledger.mark_told("acme", ONE, first)
    ledger.mark_told("acme", ONE, ledger.untold_flows("acme", ONE, 9))
    assert ledger.untold("acme", 10) == []
    ledger.observe([delivery("t1", at=1), delivery("t3", at=300)], [])
    assert [flow.task for flow in ledger.untold_flows("acme", ONE, 9)] == ["t3"]


@pytest.mark.security
def test_d6_a_tenant_sees_and_changes_nothing_of_another(ledger: RetroLedger, search: RetroSearch) -> None:
    ledger.observe([delivery("t1"), delivery("t2", tenant="blue")], [])
    ledger.mark([found(tenant="blue")])
    assert (search.found("acme"), ledger.untold("acme", 10)) == ([], [])
    assert [(body.tenant, [flow.task for flow in body.flows]) for body in search.bodies([ONE], "acme")] == [("acme", ["t1"])]
    assert [body.tenant for body in search.bodies([ONE])] == ["acme", "blue"]
    assert ledger.hashes("nobody", "", 10) == []
    assert (search.status("acme", None).bad, search.status("blue", None).bad) == (0, 1)
    ledger.prune("acme", 1000.0, 1, 1)
    assert (search.bodies([ONE], "acme"), len(search.bodies([ONE], "blue")[0].flows)) == ([], 1)


def test_d6_age_and_rows_are_bounded(ledger: RetroLedger, search: RetroSearch) -> None:
    ledger.observe([delivery("t1", ONE, at=10), delivery("t2", TWO, at=20), delivery("t3", THREE, at=30)], [])
    ledger.observe([delivery("t4", THREE, at=31), delivery("t5", THREE, at=32)], [])

    def known() -> dict[str, int]:
        return {body.sha256: body.deliveries for body in search.bodies([ONE, TWO, THREE])}

    ledger.prune("acme", 10.0, 3, 5)
    assert known() == {ONE: 1, TWO: 1, THREE: 3}  # at the limits nothing goes
    ledger.prune("acme", 10.0, 3, 4)
    assert known() == {ONE: 0, TWO: 1, THREE: 3}
    ledger.prune("acme", 10.0, 2, 4)
    assert known() == {TWO: 1, THREE: 3}
    ledger.prune("acme", 20.1, 2, 4)
    assert known() == {THREE: 3}
    ledger.prune("acme", 0.0, 1, 2)
    assert known() == {THREE: 2}
    assert ledger.tenants() == ["acme"]


def test_d6_a_hunt_that_was_begun_again_is_not_moved_by_the_one_before(ledger: RetroLedger) -> None:
    ledger.observe([delivery("t1", ONE), delivery("t2", TWO)], [])
    ledger.change("acme", cause="asked", position=ONE)
    assert ledger.advance("acme", ONE, TWO, 1, [found(TWO)]) == 1
    hunt = ledger.hunt("acme")
    assert hunt is not None
    assert (hunt.position, hunt.judged, hunt.found) == (TWO, 1, 1)
    ledger.change("acme", position="", judged=0, found=0)
    ledger.advance("acme", TWO, END, 1, [])
    hunt = ledger.hunt("acme")
    assert hunt is not None
    assert (hunt.position, hunt.judged) == ("", 0)


def test_d6_status_counts_what_cannot_be_judged_again(ledger: RetroLedger, search: RetroSearch) -> None:
    sampled = delivery("t1", ONE, sample="a" * 32)
    both = (Limit.HEAD_ONLY, Limit.PACKED)
    ledger.observe([sampled, delivery("t2", TWO, limits=both), delivery("t3", THREE, limits=both[:1])], [])
    hunt = ledger.change("acme", since=101.0)
    status = search.status("acme", hunt)
    assert (status.bodies, status.deliveries, status.samples, status.without_sample, status.waiting) == (3, 3, 1, 2, 1)
    assert status.limits == {"head_only": 2, "packed": 1}
    assert ledger.waiting("acme", 101.0) == 1
    assert ledger.waiting("acme", 100.0) == 0


_DELIVERIES = st.lists(
    st.builds(
        delivery,
        st.sampled_from(["t1", "t2", "t3"]),
        st.sampled_from([ONE, TWO]),
        st.sampled_from(["acme", "blue"]),
        st.sampled_from([90.0, 100.0, 110.0]),
        judged_at=st.sampled_from([80.0, 100.0, 120.0]),
        engine=st.sampled_from(["", "one", "two"]),
        verdict=st.sampled_from([Verdict.CLEAN, Verdict.UNSCANNED]),
        limits=st.sampled_from([(), (Limit.PACKED,), (Limit.HEAD_ONLY, Limit.PACKED)]),
        sample=st.sampled_from(["", "a" * 32, "b" * 32]),
    ),
    max_size=8,
)


@settings(max_examples=60)
@given(_DELIVERIES, _DELIVERIES)
def test_d6_a_batch_says_what_its_deliveries_say_one_after_the_other(first: list[Delivery], second: list[Delivery]) -> None:
    def told(*batches: list[Delivery]) -> list[Body]:
        with TemporaryDirectory() as folder:
            store = SqliteStore(Path(folder) / "audit.db")
            for batch in batches:
                RetroLedger(store).observe(batch, [])
            found = RetroSearch(store).bodies([ONE, TWO])
            store.close()
        return found

    assert told(first, second) == told(*([each] for each in (*first, *second)))


def test_d6_a_hash_is_found_at_every_tenant_and_inside_what_was_packed(store: SqliteStore, ledger: RetroLedger) -> None:
    ledger.observe([delivery("t1", tenant="acme"), delivery("t2", tenant="blue"), delivery("t3", TWO, tenant="cyan")], [])
    RetroSamples(store).inside("cyan", TWO, ONE)
    RetroSamples(store).inside("acme", ONE, ONE)
    search = RetroSearch(store)
    assert [(body.tenant, body.sha256) for body in search.bodies([ONE])] == [("acme", ONE), ("blue", ONE), ("cyan", TWO)]
    assert [(body.tenant, body.sha256) for body in search.bodies([ONE], "cyan")] == [("cyan", TWO)]
    assert search.bodies([THREE]) == []


@pytest.mark.parametrize("statement", [retro._UNTOLD, retro_samples._RECALLED], ids=["untold", "recalled"])
def test_d6_what_is_asked_every_second_looks_at_bad_bodies_only(store: SqliteStore, statement: TextClause) -> None:
    values = {"tenant": "acme", "after": 0.0, "most": 1}
    asked = {name: value for name, value in values.items() if f":{name}" in statement.text}
    with store.reading() as connection:
        plan = [row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {statement.text}"), asked)]
    assert any("retro_bodies USING INDEX idx_retro_bad" in step or "body USING INDEX idx_retro_bad" in step for step in plan)
