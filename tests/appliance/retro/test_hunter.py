"""D6: the ledger held against lists: as bodies come, and from the start when a list changes; alerts name the flows once."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from appliance.config.retro import Retro
from appliance.domain.retro import Body, Flow
from appliance.retro.desk import RetroDesk
from appliance.retro.hunter import Hunter
from appliance.retro.lists import Hit
from appliance.storage.retro import END, RetroLedger
from appliance.storage.retro_search import RetroSearch
from appliance.storage.sqlite import SqliteStore
from tests.appliance.retro.test_observe import event, scan

HASHES = [f"{number:064x}" for number in range(1, 8)]


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Known:
    """Lists by tenant."""

    def __init__(self) -> None:
        self.by_tenant: dict[str, dict[str, str]] = {}
        self.versions: dict[str, str] = {}
        self.ready = True
        self.asked = 0
        self.dies_at = 0
        """As if the process were killed at so many questions."""

    def put(self, tenant: str, *hashes: str) -> None:
        self.by_tenant[tenant] = dict.fromkeys(hashes, "Evil")
        self.versions[tenant] = f"v{len(hashes)}{hashes[-1][-3:]}"

    def refresh(self) -> None:
        self.ready = True

    def version(self, tenant: str) -> str:
        return self.versions.get(tenant, "")

    def find(self, tenant: str, sha256: str) -> Hit | None:
        self.asked += 1
        if self.asked == self.dies_at:
            raise KeyboardInterrupt
        name = self.by_tenant.get(tenant, {}).get(sha256)
        return Hit(name, "list x", "hashes/1") if name else None


class Lab:
    def __init__(self, store: SqliteStore) -> None:
        self.ledger, self.search = RetroLedger(store), RetroSearch(store)
        self.lists, self.clock = Known(), Clock()
        self.told: list[tuple[str, str, list[str]]] = []
        self.acts: list[Any] = []
        self.fails = False
        self.config = Retro()
        self.desk = RetroDesk(self.ledger, self.search, ["acme", "blue"], self.acts.extend, self.clock)

    def hunter(self) -> Hunter:
        return Hunter(self.ledger, self.search, self.lists, self.config, ["acme", "blue"], self.alert, self.clock)

    def alert(self, body: Body, flows: Sequence[Flow]) -> None:
        if self.fails:
            raise OSError("no room")
        self.told.append((body.tenant, body.sha256, [flow.task for flow in flows]))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    store = SqliteStore(tmp_path / "audit.db")
    yield Lab(store)
    store.close()


def delivered(task: str, sha256: str, tenant: str = "acme", at: float = 100.0) -> dict[str, Any]:
    return event(scan(sha256=sha256), id=task, tenant_id=tenant, created_at=at)


def test_a_new_list_names_exactly_the_flows_of_each_tenant(lab: Lab) -> None:
    hunter = lab.hunter()
    hunter.observe([delivered("t1", HASHES[0]), delivered("t2", HASHES[0], at=101), delivered("t3", HASHES[1])])
    hunter.observe([delivered("t4", HASHES[0], "blue"), delivered("t5", HASHES[0], "unknown")])
    assert (hunter.tick(), lab.told) == (0, [])
    lab.lists.put("acme", HASHES[0])
    assert hunter.tick() == 2
    assert lab.told == [("acme", HASHES[0], ["t1", "t2"])]
    hunt = lab.ledger.hunt("acme")
    assert hunt is not None
    assert (hunt.cause, hunt.position, hunt.judged, hunt.found, hunt.ended_at) == ("hash list", END, 2, 1, 1000.0)
    assert (hunter.tick(), len(lab.told)) == (0, 1)


def test_what_comes_while_it_is_listed_is_found_as_it_comes(lab: Lab) -> None:
    lab.lists.put("acme", HASHES[0])
    hunter = lab.hunter()
    hunter.tick()
    hunter.observe([delivered("t1", HASHES[0]), delivered("t2", HASHES[0], "blue")])
    hunter.tick()
    hunter.observe([delivered("t3", HASHES[0], at=200)])
    hunter.tick()
    assert lab.told == [("acme", HASHES[0], ["t1"]), ("acme", HASHES[0], ["t3"])]


def test_a_find_in_ordinary_traffic_tells_of_earlier_deliveries(lab: Lab) -> None:
    hunter = lab.hunter()
    hunter.observe([delivered("t1", HASHES[0]), delivered("t2", HASHES[0], "blue")])
    blocked = scan(sha256=HASHES[0], outcome="blocked", reason="malware_found", signature="Later")
    hunter.observe([event(blocked, id="t3", action="block", status=403, reason="malware_found")])
    hunter.tick()
    assert lab.told == [("acme", HASHES[0], ["t1"])]
    assert lab.desk.found("acme")[0].found_by == "icap://s"


def test_what_came_before_the_lists_were_read_is_held_against_them(lab: Lab) -> None:
    lab.lists.put("acme", HASHES[0])
    lab.hunter().tick()
    lab.lists.ready = False
    lab.lists.by_tenant, kept = {}, lab.lists.by_tenant
    again = lab.hunter()
    again.observe([delivered("t1", HASHES[0])])
    lab.lists.by_tenant = kept
    again.tick()
    assert lab.told == [("acme", HASHES[0], ["t1"])]


def test_a_hunt_that_was_killed_goes_on_where_it_was(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.retro.hunter.BATCH", 2)
    lab.hunter().observe([delivered(f"t{number}", sha256) for number, sha256 in enumerate(HASHES)])
    lab.lists.put("acme", HASHES[0], HASHES[5])
    lab.lists.dies_at = lab.lists.asked + 4
    with pytest.raises(KeyboardInterrupt):
        lab.hunter().tick()
    hunt = lab.ledger.hunt("acme")
    assert hunt is not None
    assert (hunt.position, hunt.judged, hunt.found) == (HASHES[1], 2, 1)
    lab.lists.asked = 0
    assert lab.hunter().tick() == 2
    assert lab.lists.asked == 5  # those before are not asked again
    assert sorted(lab.told) == [("acme", HASHES[0], ["t0"]), ("acme", HASHES[5], ["t5"])]


def test_an_alert_that_cannot_be_told_is_told_later(lab: Lab) -> None:
    hunter = lab.hunter()
    hunter.observe([delivered("t1", HASHES[0])])
    lab.lists.put("acme", HASHES[0])
    lab.fails = True
    with pytest.raises(OSError, match="no room"):
        hunter.tick()
    lab.fails = False
    hunter.tick()
    assert lab.told == [("acme", HASHES[0], ["t1"])]


def test_many_flows_are_several_alerts_and_none_is_left_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.retro.hunter.MAX_LISTED", 3)
    hunter = lab.hunter()
    hunter.observe([delivered(f"t{number}", HASHES[0], at=number) for number in range(7)])
    lab.lists.put("acme", HASHES[0])
    hunter.tick()
    assert [len(tasks) for _, _, tasks in lab.told] == [3, 3, 1]
    assert [task for _, _, tasks in lab.told for task in tasks] == [f"t{number}" for number in range(7)]


def test_a_person_has_all_judged_again_and_it_is_recorded_before(lab: Lab) -> None:
    from appliance.domain.act import Actor

    hunter = lab.hunter()
    lab.lists.put("acme", HASHES[6])
    hunter.observe([delivered("t1", HASHES[0])])
    hunter.tick()
    lab.desk.run("acme", Actor("ann"))
    assert [(act.tenant, act.on, act.verb, str(act.by)) for act in lab.acts] == [("acme", "retro", "begun", "ann")]
    hunter.tick()
    [status] = lab.desk.status("acme")
    assert status.hunt is not None
    assert (status.hunt.cause, status.hunt.judged) == ("asked", 1)


def test_the_tables_are_pruned_by_the_settings(lab: Lab) -> None:
    lab.config = Retro(max_age=60, max_bodies=2, max_flows=2)
    lab.clock.at = 150.0
    hunter = lab.hunter()
    hunter.observe([delivered(f"t{number}", HASHES[number], at=89.0 + number) for number in range(4)])
    hunter.tick()
    assert sorted(body.sha256 for body in lab.desk.hunt(HASHES)) == HASHES[2:4]


@pytest.mark.security
def test_a_question_about_one_tenant_is_not_answered_with_another(lab: Lab) -> None:
    from appliance.domain.retro import RetroError

    lab.hunter().observe([delivered("t1", HASHES[0], "blue")])
    asks: list[Callable[[], object]] = [
        lambda: lab.desk.bodies(HASHES[0], "acme"), lambda: lab.desk.status("nobody"), lambda: lab.desk.bodies("../x", "acme"),
        lambda: lab.desk.hunt(["x"]), lambda: lab.desk.hunt(HASHES * 2000),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(RetroError):
            ask()
    assert lab.desk.hunt([HASHES[0].upper()], "acme") == []
    assert [body.tenant for body in lab.desk.hunt([HASHES[0].upper(), HASHES[0]])] == ["blue"]
