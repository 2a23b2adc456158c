"""Which bodies go into quarantine, with what is known of them; a block never depends on it."""

import io
from collections.abc import Callable
from typing import Any, BinaryIO

import pytest
from mitmproxy.http import HTTPFlow

from addons.adapt import Adapt
from appliance.domain.quarantine import Item, Keeping
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome
from icap.client import Adapted
from tests.addons.flows import ALICE, answered, conn, flow, page, task
from tests.addons.test_adapt import Place, Service, verdict
from tests.addons.test_streaming import Reading, started


class Bin:
    """Keeps what it is given; ``full`` asks for nothing."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.kept: list[tuple[Item, bytes]] = []
        self.refused: list[Keeping] = []

    def take(self, tenant: str, size: int, make: Callable[[], tuple[Item, BinaryIO]]) -> str:
        if self.full:
            return "not kept: busy"
        item, source = make()
        with source:
            self.kept.append((item, source.read()))
        assert (tenant, size) == (item.tenant, item.size)
        return "the id"

    def refuse(self, tenant: str, why: Keeping) -> str:
        self.refused.append(why)
        return f"not kept: {why.value}"


def infected(method: str, reason: Reason = Reason.MALWARE_FOUND, outcome: Outcome = Outcome.BLOCKED) -> Adapted:
    return Adapted(verdict(method, outcome, reason, signature="Ei\x1bcar"))


def stage(service: Any, bin_: Bin, **settings: Any) -> Place:
    place = Place(service, **settings)
    place.adapt = Adapt(place.adapt._scanning, page, place.counted.append, place.room, bin_)
    return place


async def test_an_infected_download_is_kept_as_it_was_transferred() -> None:
    kept = Bin()
    place = stage(Service(infected("RESPMOD")), kept)
    made = flow(notes=conn(user=ALICE))
    notes = task(made)
    answered(made, body=b"virus")
    await place.response(made)
    ((item, body),) = kept.kept
    assert (body, notes.quarantine, notes.reason) == (b"virus", "the id", Reason.MALWARE_FOUND)
    assert (item.tenant, item.task, item.host, item.side) == ("a", notes.task_id, "example.test", "response")
    assert (item.user, item.client, item.signature, item.size) == ("alice", "10.0.0.7", "Ei\\x1bcar", 5)


async def test_an_infected_upload_is_kept() -> None:
    kept = Bin()
    place = stage(Service(infected("REQMOD")), kept)
    made = flow("POST", body=b"upload")
    task(made)
    await place.request(made)
    ((item, body),) = kept.kept
    assert (body, item.side, made.response is not None) == (b"upload", "request", True)


@pytest.mark.parametrize(
    "answer",
    [
        Adapted(verdict("RESPMOD")),
        infected("RESPMOD", Reason.ICAP_BLOCKED),
        infected("RESPMOD", Reason.MALWARE_FOUND, Outcome.BYPASSED),
        infected("RESPMOD", Reason.ICAP_ERROR, Outcome.ERROR),
    ],
)
async def test_what_no_scanner_calls_infected_is_not_kept(answer: Adapted) -> None:
    kept = Bin()
    place = stage(Service(answer), kept)
    made = flow()
    notes = task(made)
    answered(made, body=b"letter")
    await place.response(made)
    assert (kept.kept, kept.refused, notes.quarantine) == ([], [], "")


@pytest.mark.security
async def test_a_block_stands_whether_or_not_the_body_is_kept() -> None:
    place = stage(Service(infected("RESPMOD")), Bin(full=True))
    made = flow()
    notes = task(made)
    answered(made, body=b"virus")
    await place.response(made)
    assert made.response is not None
    assert (made.response.status_code, made.response.content) == (403, b"malware_found")
    assert notes.quarantine == "not kept: busy"


def download(kept: Bin, **settings: Any) -> HTTPFlow:
    answer = Reading(Adapted(verdict("RESPMOD", Outcome.BLOCKED, Reason.MALWARE_FOUND, signature="Eicar")))
    place = stage(answer, kept, **{"max_scan_size": 100, "large_bodies": {"above": 10}} | settings)
    made = flow()
    task(made)
    answered(made, body=b"")
    made.response.headers.pop("content-length", None)  # type: ignore[union-attr]
    place.adapt.responseheaders(made)
    return made


@pytest.mark.parametrize("began", [False, True])
async def test_a_body_that_was_found_late_is_kept_whole(began: bool) -> None:
    made = download(kept := Bin())
    streamed = started(made)
    streamed.feed(b"x" * 50)
    streamed.started = began
    streamed.end()
    await streamed.judge()
    assert [body for _, body in kept.kept] == [b"x" * 50]
    assert made.metadata["arcus.task"].quarantine == "the id"


async def test_of_a_body_that_was_not_seen_whole_no_part_is_kept() -> None:
    made = download(kept := Bin(), oversize="head")
    streamed = started(made)
    assert streamed.feed(b"x" * 150) == b"x" * 50
    streamed.end()
    await streamed.judge()
    assert (kept.kept, kept.refused) == ([], [Keeping.INCOMPLETE])
    assert made.metadata["arcus.task"].quarantine == "not kept: incomplete"


def test_a_source_outlives_the_body_it_came_from() -> None:
    made = download(Bin())
    streamed = started(made)
    streamed.feed(b"x" * 50)
    streamed.end()
    copy = streamed.body.copy()
    streamed.close()
    assert copy.read() == b"x" * 50
    assert isinstance(copy, io.BytesIO)
