"""One direction of a body that is a stream of units, given to the tenant's service (``engine.messages.BodyJudge``)."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mitmproxy.http import HTTPFlow

from addons.decoding import Bounds, Decoder, Undecodable
from addons.icap_message import unit_message
from addons.messages import Asked, Means, MessageJudge, Shown
from addons.scanning import Scanning
from addons.unit_views import Say, Window
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.engine.messages import Judged, Refusal, Unit, UnitReader
from appliance.policy.scan_rules import Direction
from icap.client import Adapted

_FOLLOWED: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of stream. ``shown_as``: the media type that a service is told of a unit. ``reader`` is called once per body.
    ``say``: what of a unit continues the one before it. ``pause``: see ``BodyJudge``."""

    shown_as: str
    reader: Callable[[int], UnitReader]
    say: Say
    coding: str = "identity"
    """Of units that are packed each by itself."""
    pause: float | None = None


class Packed:
    """Units that are packed each by itself (``addons.messages.Unpack``)."""

    def __init__(self, coding: str, ratio: int) -> None:
        self._coding = coding
        self._ratio = ratio

    def feed(self, data: bytes, keep: int, *, follow: bool, end: bool) -> tuple[bytes, int]:
        """As of ``Inflater``. Nothing builds upon what came before, so nothing is unpacked beyond ``keep``."""
        if not keep:
            return b"", 0
        if self._coding == "identity":
            raise Undecodable("a packed message, and nothing says how")
        decoder = Decoder((self._coding,), Bounds(keep + _FOLLOWED, self._ratio, 1))
        kept, size = bytearray(), 0
        for piece in decoder.feed(data):
            kept += piece[: max(0, keep - size)]
            size += len(piece)
            if size > keep:
                return bytes(kept), size
        if end:
            decoder.end()
        return bytes(kept), size


class StreamJudge(MessageJudge):
    """``page``: put one in place of the answer, for the reason that the notes have."""

    def __init__(
        self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, asked: Asked, side: Direction, means: Means, kind: Kind,
        page: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__(
            flow, notes, scanning, asked, side, means, Packed(kind.coding, scanning.auditor.content_codings.max_ratio)
        )
        self.pause = kind.pause
        self._stream = kind
        self._page = page
        self._window = Window(scanning.auditor.stream_units.overlap)

    def reader(self) -> UnitReader | None:
        self._notes.by_unit.add(self._side)
        return self._stream.reader(self.limit)

    def passed(self, size: int) -> None:
        name = f"{self._side}_bytes"
        setattr(self._notes, name, getattr(self._notes, name) + size)

    def refused(self) -> None:
        self._page()

    async def judge_all(self, units: Sequence[Unit]) -> Judged:
        judged: list[tuple[Unit, Shown]] = []
        stop: Refusal | None = None
        passed = 0
        for unit in units:
            shown = self.shown(unit)
            if isinstance(shown, Refusal):
                stop = shown
                break
            passed += 1
            if shown is not None:
                judged.append((unit, shown))
        verdict = await self._ask_all(judged)
        return verdict if verdict.refusal is not None else Judged(passed, stop)

    async def _ask_all(self, judged: Sequence[tuple[Unit, Shown]]) -> Judged:
        """Every unit by itself and what they say together, at the same time; the first that is stopped counts."""
        said = [unit.flat if unit.flat is not None else self._stream.say(shown.data) for unit, shown in judged]
        alone = [(index, shown) for index, (_, shown) in enumerate(judged) if shown.data]
        known = {shown.data for _, shown in alone}
        joined = self._window.views([unit for unit, _ in judged], said)
        views = [(index, Shown(piece, 0)) for view, index in joined.items() for piece in self._fit(view) if piece not in known]
        questions = [self._adapt(shown.data) for _, shown in alone] + [self._adapt(shown.data, once=True) for _, shown in views]
        asked, answers = alone + views, await asyncio.gather(*questions)
        stopped: list[tuple[int, Refusal]] = []
        for (index, shown), adapted in zip(asked, answers, strict=True):
            if (refusal := self.settle(adapted, shown)) is not None:
                stopped.append((index, refusal))
        if stopped:
            return Judged(*min(stopped, key=lambda each: each[0]))
        self._window.remember(said)
        return Judged(len(judged))

    async def _adapt(self, data: bytes, *, once: bool = False) -> Adapted:
        message = unit_message(self._flow, self._scanning, data, self._stream.shown_as, self._side)
        return await self._asked.service.adapt(replace(message, once=True) if once else message)

    def _fit(self, view: bytes) -> Iterator[bytes]:
        """In pieces that a service takes, each with the end of the one before it."""
        auditor = self._scanning.auditor
        most = auditor.max_scan_size
        again = min(auditor.stream_units.overlap, most // 2)
        for start in range(0, max(1, len(view) - again), most - again):
            yield view[start : start + most]

    def refuse(self, why: Reason, detail: str) -> Refusal:
        if self._flow.response is not None:
            self._notes.status = self._flow.response.status_code
        return super().refuse(why, detail)
