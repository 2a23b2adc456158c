"""Messages of a stream, given to the tenant's service one by one (``engine.messages``)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mitmproxy.http import HTTPFlow

from addons.decoding import Undecodable
from addons.icap_message import piece_message
from addons.inflating import Inflater, inflatable
from addons.scan_route import choose
from addons.scanning import Scanning, Stop, skip, weigh
from appliance.domain.not_scanned import NotScanned
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from appliance.engine.messages import JUDGES, POLICY_VIOLATION, TOO_BIG, Refusal, Unit, UnitReader
from appliance.policy.scan_rules import NO_SERVICE, Direction
from icap.client import Adapted, Room, Service
from icap.client.message import Method

type Counted = Callable[[ScanVerdict], None]

METHODS: dict[Direction, Method] = {"request": "REQMOD", "response": "RESPMOD"}


class Unpack(Protocol):
    def feed(self, data: bytes, keep: int, *, follow: bool, end: bool) -> tuple[bytes, int]: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked about the messages of one direction, and how."""

    service: Service
    method: Method


class MessageJudge:
    """One direction of one flow (``engine.messages.Judge``). ``side``: whose bytes it judges. What is
    counted is what goes on: frames with their headers, as they came."""

    def __init__(
        self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, asked: Asked, side: Direction, room: Room, count: Counted,
        unpack: Unpack, kind: str = "", reader: Callable[[], UnitReader] | None = None,
    ) -> None:  # fmt: skip
        self.limit = min(scanning.auditor.max_message_size, scanning.auditor.max_scan_size)
        self._flow = flow
        self._notes = notes
        self._scanning = scanning
        self._asked = asked
        self._side = side
        self._room = room
        self._count = count
        self._unpack = unpack
        self._kind = kind
        self._reader = reader
        self._word = NotScanned.TOO_LARGE

    # -- the engine's side -----------------------------------------------------------------------------------------

    def reader(self) -> UnitReader | None:
        return self._reader() if self._reader is not None else None

    def take(self, size: int) -> bool:
        return self._room.reserve(size)

    def give_back(self, size: int) -> None:
        self._room.give_back(size, 0)

    async def judge(self, unit: Unit) -> Refusal | None:
        data, wire = unit.data or b"", len(unit.wire)
        try:
            shown, size = self._shown(unit, data)
        except Undecodable as error:
            passes = self._scanning.auditor.content_codings.undecodable == "bypass"
            return self._unjudged(NotScanned.UNDECODABLE, Reason.NOT_SCANNABLE, str(error), wire, passes=passes)
        if unit.whole and size <= self.limit:
            return await self._ask(unit, shown, wire)
        policy = self._scanning.auditor.oversize
        if policy == "head":
            self._word = NotScanned.HEAD_ONLY
            beyond = max(0, len(data) - self.limit)
            skip(self._notes, self._side, self._word, beyond)
            return await self._ask(unit, shown, wire - beyond)
        if unit.crowded:
            why, word = Reason.RESOURCE_EXHAUSTED, NotScanned.NO_ROOM
        else:
            why, word = Reason.BODY_TOO_LARGE, NotScanned.TOO_LARGE
        return self._unjudged(word, why, f"a message of more than {self.limit} bytes", wire, passes=policy == "bypass")

    def follow(self, unit: Unit) -> None:
        data = unit.data or b""
        skip(self._notes, self._side, self._word, len(unit.wire))
        if unit.packed:
            try:
                self._unpack.feed(data, 0, follow=True, end=unit.last)
            except Undecodable:
                return  # it goes on unjudged anyway; the messages that build upon it are told the same

    # -- inside ----------------------------------------------------------------------------------------------------

    def _shown(self, unit: Unit, data: bytes) -> tuple[bytes, int]:
        if not unit.packed:
            return data[: self.limit], len(data)
        return self._unpack.feed(data, self.limit, follow=self._scanning.auditor.oversize != "block", end=unit.last)

    async def _ask(self, unit: Unit, shown: bytes, size: int) -> Refusal | None:
        if not shown:
            return None
        kind = self._kind or ("text/plain; charset=utf-8" if unit.text else "application/octet-stream")
        message = piece_message(self._flow, self._scanning, shown, kind, self._asked.method)
        adapted = await self._asked.service.adapt(message)
        verdict = adapted.verdict
        self._write_down(adapted, size)
        if verdict.outcome in (Outcome.BLOCKED, Outcome.ERROR):
            return self._refuse(verdict.reason, verdict.signature or verdict.detail)
        if adapted.kind != "unmodified" and adapted.body != shown:
            return self._refuse(Reason.ICAP_BLOCKED, "the service changed a message of a stream")
        return None

    def _unjudged(self, word: NotScanned, why: Reason, detail: str, size: int, *, passes: bool) -> Refusal | None:
        if not passes:
            return self._refuse(why, detail)
        self._word = word
        skip(self._notes, self._side, word, size)
        return None

    def _refuse(self, why: Reason, detail: str) -> Refusal:
        self._notes.fail(why, detail)
        code = TOO_BIG if why is Reason.BODY_TOO_LARGE else POLICY_VIOLATION
        return Refusal(code, f"{why.word}: {detail}" if detail else why.word)

    def _write_down(self, adapted: Adapted, size: int) -> None:
        """Each verdict is counted; of those that say the same of thousands of messages the record has the first."""
        notes = self._notes
        known = {(each.service, each.method, each.outcome) for each in notes.scans}
        for verdict in adapted.verdicts:
            self._count(verdict)
            if (verdict.service, verdict.method, verdict.outcome) not in known:
                notes.scans.append(verdict)
        weigh(adapted.verdict, notes, size, self._side)


def judge_websocket(flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, room: Room, count: Counted) -> Stop | None:
    """Leave judges on a flow whose upgrade was accepted, for every direction that some service can judge."""
    if flow.response is not None and not inflatable(flow.response.headers):
        if scanning.auditor.content_codings.undecodable == "block":
            return Reason.NOT_SCANNABLE, "WebSocket extensions that nobody here knows"
        skip(notes, "request", NotScanned.UNDECODABLE)
        skip(notes, "response", NotScanned.UNDECODABLE)
        return None
    directions: tuple[tuple[bool, Direction, Direction], ...] = (
        (True, "request", "response"),
        (False, "response", "request"),
    )
    for from_client, own, other in directions:
        asked = _asked(flow, scanning, own, other)
        if asked is not None:
            unpack = Inflater(scanning.auditor.content_codings.max_ratio)
            flow.metadata[JUDGES[from_client]] = MessageJudge(
                flow, notes, scanning, asked, own, room, count, unpack
            )  # fmt: skip
    return None


def _asked(flow: HTTPFlow, scanning: Scanning, *directions: Direction) -> Asked | None:
    """The service for a direction, or the one for the other where it has none. A rule that lets pass is no lack of one."""
    for direction in directions:
        route = choose(flow, scanning, direction)
        if route.use:
            return Asked(scanning.services[route.use, direction], METHODS[direction])
        if route != NO_SERVICE:
            return None
    return None
