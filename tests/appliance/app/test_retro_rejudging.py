"""D6: samples in the admin process: hunts that begin when signatures change, what is packed, and the limits."""

import gzip
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.app.retro_rejudging import MOST, Rejudging
from appliance.app.sample_keys import make_keys, store
from appliance.config.retro import Samples
from appliance.config.root import AppConfig
from appliance.domain.clock import ManualClock
from appliance.domain.quarantine import Item
from appliance.domain.retro import Limit
from appliance.storage.retro import RetroLedger
from appliance.storage.retro_search import RetroSearch
from appliance.storage.sqlite import SqliteStore
from appliance.telemetry.metrics import Metrics
from tests.appliance.app.test_retro_lists import config
from tests.appliance.retro.test_hunter import Known
from tests.appliance.storage.test_retro import delivery


class Lab:
    def __init__(self, database: SqliteStore, made: AppConfig) -> None:
        make_keys(made)
        self.config, self.clock, self.lists = made, ManualClock(1000.0), Known()
        self.ledger, self.search = RetroLedger(database), RetroSearch(database)
        self.work = Rejudging(made, database, self.lists, Metrics(), self.clock)

    def deliver(self, body: bytes, at: float, *limits: Limit) -> str:
        sha256, cabinet = hashlib.sha256(body).hexdigest(), store(self.config).cabinet("theirs")
        item = Item(cabinet.name_of(sha256), "theirs", at, "task", "a.test", sha256, len(body))
        cabinet.keep(item, io.BytesIO(body), Samples())
        self.ledger.observe([delivery(sha256[:8], sha256, "theirs", at, sample=item.id, limits=limits)], [])
        return sha256

    def sampled(self, *hashes: str) -> list[bool]:
        return [bool(body.sample) for body in self.search.bodies(hashes, "theirs")]

    def says(self, istag: str) -> None:
        self.work._services.by_tenant["theirs"].clients[0].stats.istag = istag


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    samples = "retro: {samples: {tenants: [theirs], max_items: 2, max_age: 60s}}"
    database = SqliteStore(tmp_path / "audit.db")
    yield Lab(database, config(tmp_path, extra=f"state_dir: {tmp_path / 'state'}\n{samples}"))
    database.close()


def test_a_new_istag_begins_a_hunt_and_a_first_one_does_not(lab: Lab) -> None:
    assert lab.work._look("theirs").since == 0.0
    lab.says("one")
    assert lab.work._look("theirs").since == 0.0
    lab.clock.advance(5.0)
    lab.says("two")
    hunt = lab.work._look("theirs")
    assert (hunt.cause, hunt.since, hunt.started_at) == ("signatures", lab.clock.now(), lab.clock.now())
    lab.clock.advance(5.0)
    assert lab.work._look("theirs") == hunt


def test_a_service_with_a_new_istag_every_time_does_not_hunt_for_ever(lab: Lab) -> None:
    began = set()
    for turn in range(3 * MOST):
        lab.clock.advance(10.0)
        lab.says(f"turn {turn}")
        began.add(lab.work._look("theirs").since)
    assert len(began - {0.0}) == MOST
    lab.clock.advance(600.0)
    assert lab.work._look("theirs").since == lab.clock.now()  # and the last change is not forgotten


def test_what_is_packed_is_known_by_what_is_inside(lab: Lab) -> None:
    inside = hashlib.sha256(b"inside").hexdigest()
    packed = lab.deliver(gzip.compress(b"inside"), lab.clock.now(), Limit.PACKED)
    other = lab.deliver(b"no gzip", lab.clock.now(), Limit.PACKED)
    lab.lists.put("theirs", inside)
    lab.work._tidy()
    assert [body.sha256 for body in lab.search.bodies([inside])] == [packed]
    assert [body.sha256 for body in lab.search.found("theirs")] == [packed]
    assert lab.search.bodies([other], "theirs")[0].verdict.value == "clean"


def test_samples_are_kept_within_the_limits_and_the_ledger_knows(lab: Lab) -> None:
    now = lab.clock.now()
    hashes = [lab.deliver(b"%d" % number, now - age) for number, age in enumerate((60.0, 30.0))]
    lab.work._tidy()
    assert lab.sampled(*hashes) == [True, True]  # at both limits
    hashes.append(lab.deliver(b"third", now))
    lab.work._tidy()
    assert lab.sampled(*hashes) == [False, True, True]
    lab.clock.advance(31.0)
    lab.work._tidy()
    assert lab.sampled(*hashes) == [False, False, True]
    status = lab.search.status("theirs", None)
    assert (status.samples, status.without_sample) == (1, 2)
