"""D6: samples given to the scanners again: what is stale, what comes of it, how fast, and that a kill loses nothing."""

import gzip
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.retro import Samples
from appliance.domain.quarantine import Item
from appliance.domain.reason import Reason
from appliance.domain.retro import Hunt
from appliance.domain.verdict import Outcome, ScanVerdict
from appliance.quarantine.store import QuarantineStore
from appliance.retro.rejudge import Rejudge, Sample, due, unpacked
from appliance.storage.retro import RetroLedger
from appliance.storage.retro_samples import RetroSamples
from appliance.storage.retro_search import RetroSearch
from appliance.storage.sqlite import SqliteStore
from certs import sealing
from tests.appliance.retro.test_hunter import Clock
from tests.appliance.storage.test_retro import delivery


class Judge:
    """Says what it is told to, by body; ``dies``: as if the process were killed."""

    def __init__(self) -> None:
        self.says: dict[bytes, ScanVerdict | None] = {}
        self.asked: list[bytes] = []
        self.dies = b""

    async def judge(self, sample: Sample) -> ScanVerdict | None:
        if sample.body == self.dies:
            raise KeyboardInterrupt
        self.asked.append(sample.body)
        return self.says.get(sample.body, ScanVerdict("s", "RESPMOD", Outcome.CLEAN, engine="new", istag="t2"))


def bad(reason: Reason = Reason.MALWARE_FOUND) -> ScanVerdict:
    return ScanVerdict("icap://s", "RESPMOD", Outcome.BLOCKED, reason, "Evil", engine="new")


class Lab:
    def __init__(self, store: SqliteStore, folder: Path) -> None:
        (folder / "keys").mkdir()
        for tenant in ("acme", "blue"):
            sealing.ensure(folder / "keys" / tenant)
        self.cabinets = QuarantineStore(folder / "samples", folder / "keys", sealing.load)
        self.ledger, self.samples, self.search = RetroLedger(store), RetroSamples(store), RetroSearch(store)
        self.clock, self.judge = Clock(), Judge()
        self.slept: list[float] = []
        self.told: list[str] = []

    def rejudge(self) -> Rejudge:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        return Rejudge(self.samples, self.cabinets.cabinet, self.judge, 5.0, self.clock, sleep, self.told.append)

    def deliver(self, body: bytes, tenant: str = "acme", at: float = 100.0) -> str:
        sha256 = hashlib.sha256(body).hexdigest()
        cabinet = self.cabinets.cabinet(tenant)
        item = Item(cabinet.name_of(sha256), tenant, at, "task", "a.test", sha256, len(body), side="response")
        cabinet.keep(item, io.BytesIO(body), Samples())
        self.ledger.observe([delivery(sha256[:8], sha256, tenant, at, size=len(body), sample=item.id)], [])
        return sha256

    def verdicts(self) -> dict[str, str]:
        hashes = [sha256 for sha256, _ in self.ledger.hashes("acme", "", 99)]
        return {body.sha256: body.verdict.value for body in self.search.bodies(hashes, "acme")}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    store = SqliteStore(tmp_path / "audit.db")
    yield Lab(store, tmp_path)
    store.close()


async def test_what_was_judged_before_the_change_is_judged_again_and_once(lab: Lab) -> None:
    one, two, later = lab.deliver(b"one"), lab.deliver(b"two"), lab.deliver(b"later", at=600.0)
    lab.deliver(b"one", "blue")
    lab.judge.says[b"two"] = bad()
    lab.ledger.change("acme", since=500.0)
    assert await lab.rejudge().step("acme", 500.0) == 2
    assert lab.verdicts() == {one: "clean", two: "bad", later: "clean"}
    assert sorted(lab.judge.asked) == [b"one", b"two"]
    assert lab.slept == [0.2, 0.2]
    assert lab.told.count("clean") == lab.told.count("bad") == 1
    hunt = lab.ledger.hunt("acme")
    assert hunt is not None
    assert (hunt.judged, hunt.found, lab.ledger.waiting("acme", 500.0)) == (2, 1, 0)
    assert await lab.rejudge().step("acme", 500.0) == 0
    [body] = lab.search.bodies([one], "acme")
    assert (body.judged_at, body.engine, body.istag) == (1000.0, "new", "t2")
    assert lab.search.found("blue") == []


async def test_killed_in_the_middle_it_goes_on_with_the_rest(lab: Lab) -> None:
    bodies = [b"%d" % number for number in range(5)]
    for number, body in enumerate(bodies):
        lab.deliver(body, at=float(number))
    lab.judge.says[b"4"] = bad()
    lab.judge.dies = b"2"
    with pytest.raises(KeyboardInterrupt):
        await lab.rejudge().step("acme", 500.0)
    assert lab.judge.asked == bodies[:2]
    lab.judge.dies = b""
    await lab.rejudge().step("acme", 500.0)
    assert lab.judge.asked == bodies
    assert sorted(lab.verdicts().values()) == ["bad", "clean", "clean", "clean", "clean"]


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.BYPASSED, Outcome.FAILED, Outcome.SKIPPED, None])
async def test_without_a_verdict_it_waits_and_others_come_first(lab: Lab, outcome: Outcome | None) -> None:
    lab.deliver(b"one", at=1.0)
    lab.judge.says[b"one"] = ScanVerdict("s", "RESPMOD", outcome) if outcome is not None else None
    assert await lab.rejudge().step("acme", 500.0) == 0
    hunt = lab.ledger.change("acme", since=500.0)
    status = lab.search.status("acme", hunt)
    assert (lab.told, status.waiting, status.failing) == (["failed"], 1, 1)
    assert await lab.rejudge().step("acme", 500.0) == 0
    assert lab.judge.asked == [b"one"]  # not again at once
    lab.clock.at += 61.0
    del lab.judge.says[b"one"]
    assert await lab.rejudge().step("acme", 500.0) == 1


async def test_a_rule_that_refuses_today_is_no_find(lab: Lab) -> None:
    one = lab.deliver(b"one")
    lab.judge.says[b"one"] = bad(Reason.FILE_TYPE_BLOCKED)
    await lab.rejudge().step("acme", 500.0)
    assert lab.verdicts() == {one: "clean"}


@pytest.mark.security
async def test_ten_03_a_service_that_is_away_is_asked_once_in_a_batch(lab: Lab) -> None:
    """Tenants are judged one after the other: ten timeouts of one would be a pause for all."""
    for number in range(10):
        lab.deliver(b"%d" % number, at=float(number))
        lab.judge.says[b"%d" % number] = ScanVerdict("s", "RESPMOD", Outcome.ERROR)
    assert await lab.rejudge().step("acme", 500.0) == 0
    assert lab.judge.asked == [b"0"]
    lab.judge.says.clear()
    assert await lab.rejudge().step("acme", 500.0) == 9
    assert lab.judge.asked[1:] == [b"%d" % number for number in range(1, 10)]


async def test_what_no_rule_leads_to_a_service_keeps_nothing_waiting(lab: Lab) -> None:
    for number in range(3):
        lab.deliver(b"%d" % number, at=float(number))
    lab.judge.says[b"0"] = lab.judge.says[b"1"] = None
    assert await lab.rejudge().step("acme", 500.0) == 1
    assert lab.judge.asked == [b"0", b"1", b"2"]


@pytest.mark.security
async def test_a_sample_that_is_gone_changed_or_anothers_is_lost_and_counted(lab: Lab, tmp_path: Path) -> None:
    gone, changed, moved = lab.deliver(b"gone"), lab.deliver(b"changed"), lab.deliver(b"moved")
    other = lab.deliver(b"other")
    folder, name = tmp_path / "samples" / "acme", lab.cabinets.cabinet("acme").name_of
    (folder / name(gone)).unlink()
    (folder / name(changed)).write_bytes((folder / name(changed)).read_bytes()[:-1] + b"x")
    (folder / name(moved)).write_bytes((folder / name(other)).read_bytes())
    assert await lab.rejudge().step("acme", 500.0) == 1
    assert (lab.judge.asked, lab.told.count("lost")) == ([b"other"], 3)
    status = lab.search.status("acme", None)
    assert (status.samples, status.without_sample) == (1, 3)


def test_what_is_due() -> None:
    assert due(Hunt("acme", since=50.0), 1000.0, 0.0) == 50.0
    assert due(Hunt("acme", since=50.0), 1000.0, 100.0) == 900.0
    assert due(Hunt("acme", since=950.0), 1000.0, 100.0) == 950.0


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=3))
def test_gzip_is_undone_within_a_limit(members: list[bytes]) -> None:
    data, whole = b"".join(map(gzip.compress, members)), b"".join(members)
    assert unpacked(data, len(whole)) == whole
    assert unpacked(data, len(whole) - 1) is None
    assert unpacked(data[:-1], len(whole)) is None


@given(st.binary(max_size=200))
def test_what_is_no_gzip_is_borne(data: bytes) -> None:
    assert unpacked(data, 1000) is None or data == b"" or data[:2] == b"\x1f\x8b"


@pytest.mark.security
@pytest.mark.parametrize(("count", "known"), [(1000, True), (1001, False)])
def test_lim_04_members_that_hold_nothing_are_not_undone_without_end(count: int, known: bool) -> None:
    assert unpacked(gzip.compress(b"") * count, 1000) == (b"" if known else None)


def test_members_that_hold_something_are_undone_however_many_there_are() -> None:
    assert unpacked(gzip.compress(b"x" * 2048) * 3000, 1 << 23) == b"x" * 2048 * 3000
