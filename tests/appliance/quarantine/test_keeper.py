"""The workers' side: no answer waits for the disk, and what is not kept has a word."""

import asyncio
import io
import threading
from typing import Any, BinaryIO

import pytest

from appliance.config.quarantine import Quarantine
from appliance.domain.quarantine import Item, Keeping
from appliance.quarantine.keeper import MAX_PENDING, Keeper
from tests.appliance.quarantine.place import Place


class Slow(io.BytesIO):
    """A body that is read when ``go`` is set."""

    def __init__(self, data: bytes, go: threading.Event) -> None:
        super().__init__(data)
        self.go = go

    def read(self, size: int | None = -1, /) -> bytes:
        assert self.go.wait(60)
        return super().read(size)


class Worker:
    def __init__(self, place: Place, **limits: Any) -> None:
        self.place = place
        self.counted: list[Keeping] = []
        self.keeper = Keeper({"acme": place.cabinet()}, Quarantine(**limits), place.tell, self.counted.append)

    def take(self, body: bytes, tenant: str = "acme", source: BinaryIO | None = None) -> str:
        def make() -> tuple[Item, BinaryIO]:
            return self.place.item(body, tenant), source or io.BytesIO(body)

        return self.keeper.take(tenant, len(body), make)


async def test_a_body_is_put_away_under_the_id_that_was_told(place: Place) -> None:
    worker = Worker(place)
    number = worker.take(b"virus")
    assert worker.take(b"virus") == number
    await worker.keeper.close()
    assert (place.ids(), place.released(number), worker.counted) == ([number], b"virus", [Keeping.KEPT, Keeping.AGAIN])


async def test_at_the_limit_it_is_kept_and_above_it_not(place: Place) -> None:
    worker = Worker(place, max_size=5)
    assert worker.take(b"virus") != "not kept: too_large"
    assert worker.take(b"viruss") == "not kept: too_large"
    await worker.keeper.close()
    assert worker.counted == [Keeping.TOO_LARGE, Keeping.KEPT]


@pytest.mark.security
async def test_tenants_that_are_not_named_have_no_quarantine(place: Place) -> None:
    worker = Worker(place)
    assert worker.take(b"virus", "blue") == ""
    assert worker.keeper.refuse("blue", Keeping.INCOMPLETE) == ""
    await worker.keeper.close()
    assert (place.store.tenants(), worker.counted) == ([], [])


async def test_who_takes_does_not_wait_and_no_more_wait_than_may(place: Place) -> None:
    worker, go = Worker(place), threading.Event()
    taken = [worker.take(bytes([number]), source=Slow(bytes([number]), go)) for number in range(MAX_PENDING)]
    assert worker.take(b"more") == "not kept: busy"
    assert (place.ids(), worker.counted) == ([], [Keeping.BUSY])
    go.set()
    await worker.keeper.close()
    await asyncio.sleep(0)
    assert sorted(place.ids()) == sorted(taken)


@pytest.mark.parametrize("why", ["full", "changed"])
async def test_what_fails_later_is_an_event(place: Place, why: str) -> None:
    worker = Worker(place, max_items=1)
    if why == "full":
        place.keep(b"1")
        place.keep(b"2")
    number = worker.take(b"virus", source=io.BytesIO(b"other") if why == "changed" else None)
    await worker.keeper.close()
    assert (act := place.acts[0]).failed.startswith("not kept: ")
    assert (act.on, act.subject, act.verb, act.tenant, act.host, act.note) == (
        "quarantine", number, "kept", "acme", "bad.test", "Eicar",
    )  # fmt: skip
    assert worker.counted == [Keeping.FULL if why == "full" else Keeping.FAILED]
    assert number not in place.ids()


async def test_no_room_for_that_event_does_not_hurt(place: Place) -> None:
    worker, place.deaf = Worker(place), True
    worker.take(b"virus", source=io.BytesIO(b"other"))
    await worker.keeper.close()
    assert worker.counted == [Keeping.FAILED]
