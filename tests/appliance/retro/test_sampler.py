"""D6: which bodies are kept as samples: of tenants that want it, by type, share and size, each once, and none waits for it."""

import asyncio
import hashlib
import io
import threading
from pathlib import Path

import pytest

from appliance.config.retro import Samples
from appliance.domain.quarantine import Item, Keeping
from appliance.quarantine.cabinet import Cabinet
from appliance.quarantine.store import QuarantineStore
from appliance.retro.sampler import MAX_PENDING, Sampler
from certs import sealing


class Place:
    def __init__(self, folder: Path, limits: Samples | None = None) -> None:
        for tenant in ("acme", "blue"):
            (folder / "keys").mkdir(exist_ok=True)
            sealing.ensure(folder / "keys" / tenant)
        self.store = QuarantineStore(folder / "samples", folder / "keys", sealing.load)
        self.counted: list[Keeping] = []
        self.now = 0.0
        self.made = 0
        self.sampler = Sampler({"acme": self.store.cabinet("acme")}, limits or Samples(), self.counted.append, lambda: self.now)

    def take(self, body: bytes, tenant: str = "acme", media_type: str = "application/x") -> str:
        sha256 = hashlib.sha256(body).hexdigest()

        def make() -> tuple[Item, io.BytesIO]:
            self.made += 1
            return Item("", tenant, 100.0, "task", "a.test", sha256, len(body), side="response"), io.BytesIO(body)

        return self.sampler.take(tenant, sha256, len(body), media_type, make)


async def test_a_body_is_kept_once_and_opened_by_its_tenant_alone(tmp_path: Path) -> None:
    place = Place(tmp_path)
    number = place.take(b"body")
    assert (place.take(b"body"), place.made) == (number, 1)
    assert place.take(b"body", "blue") == ""
    await place.sampler.close()
    assert place.counted == [Keeping.KEPT]
    with place.store.cabinet("acme").open(number) as opened:
        assert (b"".join(opened.pieces()), opened.item.media_type) == (b"body", "application/x")
    file = tmp_path / "samples" / "acme" / number
    other = tmp_path / "samples" / "blue"
    other.mkdir()
    (other / number).write_bytes(file.read_bytes())
    assert Cabinet(other, "blue", sealing.load(tmp_path / "keys" / "blue")).item(number).damaged


async def test_it_is_looked_at_again_after_a_while(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.take(b"body")
    place.now = 300.0
    place.take(b"body")
    await place.sampler.close()
    assert place.counted == [Keeping.KEPT, Keeping.AGAIN]


async def test_by_type_size_and_share(tmp_path: Path) -> None:
    place = Place(tmp_path, Samples(types=["application/*", "image/png"], max_size=4))
    assert [bool(place.take(b"1234", media_type=kind)) for kind in ("text/html", "image/gif", "", "image/png")] == [
        False, False, False, True,
    ]  # fmt: skip
    assert place.take(b"12345") == "not kept: too_large"
    assert place.take(b"") == ""
    await place.sampler.close()
    assert place.counted == [Keeping.TOO_LARGE, Keeping.KEPT]


async def test_a_share_is_chosen_by_the_body(tmp_path: Path) -> None:
    place = Place(tmp_path, Samples(share=0.5, max_items=1000))
    bodies = [b"%d" % number for number in range(100)]
    chosen = []
    for body in bodies:
        chosen.append(place.take(body) != "")
        await asyncio.gather(*place.sampler._pending)
    assert chosen == [int(hashlib.sha256(body).hexdigest()[:8], 16) < 1 << 31 for body in bodies]
    assert 20 < sum(chosen) < 80
    await place.sampler.close()


async def test_no_more_than_some_wait_and_what_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, go = Place(tmp_path), threading.Event()

    def keep(*_: object) -> Keeping:
        go.wait(30)
        raise OSError("disk")

    monkeypatch.setattr(Cabinet, "keep", keep)
    told = [place.take(b"%d" % number) for number in range(MAX_PENDING + 1)]
    assert [text.startswith("not kept") for text in told] == [False] * MAX_PENDING + [True]
    go.set()
    await asyncio.gather(*place.sampler._pending)
    assert place.counted == [Keeping.BUSY, *[Keeping.FAILED] * MAX_PENDING]
    place.take(b"0")
    assert place.made == MAX_PENDING + 1
    await place.sampler.close()
