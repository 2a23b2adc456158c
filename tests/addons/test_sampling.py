"""D6: which bodies become samples, as their scanner was shown them, and what the record says."""

import hashlib
from collections.abc import Callable
from typing import Any, BinaryIO

import pytest

from addons.adapt import Adapt
from appliance.domain.quarantine import Item
from appliance.domain.verdict import Outcome
from icap.client import Adapted
from tests.addons.flows import ALICE, answered, conn, flow, page, task
from tests.addons.test_adapt import Place, Service, verdict

BODY = b"a clean body"
SHA256 = hashlib.sha256(BODY).hexdigest()


class Box:
    def __init__(self) -> None:
        self.kept: list[tuple[Item, bytes, str]] = []

    def take(self, tenant: str, sha256: str, size: int, media_type: str, make: Callable[[], tuple[Item, BinaryIO]]) -> str:
        item, source = make()
        with source:
            self.kept.append((item, source.read(), media_type))
        assert (tenant, sha256, size) == (item.tenant, item.sha256, item.size)
        return "the id"


def stage(adapted: Adapted, box: Box) -> Place:
    place = Place(Service(adapted))
    place.adapt = Adapt(place.adapt._scanning, page, place.counted.append, place.room, samples=box)
    return place


def judged(method: str, outcome: Outcome = Outcome.CLEAN) -> Adapted:
    return Adapted(verdict(method, outcome, sha256=SHA256, size=len(BODY)))


async def test_a_clean_download_is_kept() -> None:
    box = Box()
    place = stage(judged("RESPMOD"), box)
    made = flow(notes=conn(user=ALICE))
    notes = task(made)
    answered(made, body=BODY)
    assert made.response is not None
    made.response.headers["content-type"] = "Application/PDF; x=y"
    made.response.headers["content-encoding"] = "gzip"
    await place.response(made)
    ((item, body, media_type),) = box.kept
    assert (body, media_type, notes.samples) == (BODY, "application/pdf", {"response": "the id"})
    assert (item.tenant, item.task, item.host, item.side) == ("a", notes.task_id, "example.test", "response")
    assert (item.user, item.client, item.sha256, item.coding) == ("alice", "10.0.0.7", SHA256, "gzip")
    assert notes.packed == ["response"]


async def test_a_clean_upload_is_kept() -> None:
    box = Box()
    place = stage(judged("REQMOD"), box)
    made = flow("POST", body=BODY)
    notes = task(made)
    await place.request(made)
    assert [(item.side, body) for item, body, _ in box.kept] == [("request", BODY)]
    assert (notes.samples, notes.packed) == ({"request": "the id"}, [])


@pytest.mark.parametrize("outcome", [each for each in Outcome if each not in (Outcome.CLEAN, Outcome.MODIFIED)])
async def test_only_what_is_clean_is_kept(outcome: Outcome) -> None:
    box = Box()
    place = stage(judged("RESPMOD", outcome), box)
    made = flow()
    notes: Any = task(made)
    answered(made, body=BODY)
    await place.response(made)
    assert (box.kept, notes.samples) == ([], {})
