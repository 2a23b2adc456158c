"""Messages of a stream, given to the tenant's service one by one (``engine.messages``)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
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
class Means:
    """``room``: what is held is taken from it. ``count`` is told of each verdict. ``keep``: takes an infected message, and the
    direction in which it went, into quarantine."""

    room: Room
    count: Counted
    keep: Callable[[HTTPFlow, TaskNotes, ScanVerdict, Direction, bytes], None]


@dataclass(frozen=True, slots=True)
class Shown:
    """``data`` is what a service is asked about, ``size`` the bytes that its verdict is about."""

    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked about the messages of one direction, and how."""

    service: Service
    method: Method


class MessageJudge:
    """One direction of one flow (``engine.messages.Judge``). ``side``: whose bytes it judges. What is
    counted is what goes on: frames with their headers, as they came."""

    def __init__(
        self, flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, asked: Asked, side: Direction, means: Means, unpack: Unpack
    ) -> None:
        self.limit = min(scanning.auditor.max_message_size, scanning.auditor.max_scan_size)
        self._flow = flow
        self._notes = notes
        self._scanning = scanning
        self._asked = asked
        self._side = side
        self._means = means
        self._unpack = unpack
        self._word = NotScanned.TOO_LARGE

    # -- the engine's side -----------------------------------------------------------------------------------------

    def reader(self) -> UnitReader | None:
        return None

    def take(self, size: int) -> bool:
        return self._means.room.reserve(size)

    def give_back(self, size: int) -> None:
        self._means.room.give_back(size, 0)

    async def judge(self, unit: Unit) -> Refusal | None:
        shown = self.shown(unit)
        if shown is None or isinstance(shown, Refusal):
            return shown
        return await self._ask(unit, shown)

    def follow(self, unit: Unit) -> None:
        data = unit.data or b""
        skip(self._notes, self._side, self._word, len(unit.wire))
        if unit.packed:
            try:
                self._unpack.feed(data, 0, follow=True, end=unit.last)
            except Undecodable:
                return  # it goes on unjudged anyway; the messages that build upon it are told the same

    # -- inside ----------------------------------------------------------------------------------------------------

    def shown(self, unit: Unit) -> Shown | Refusal | None:
        """What a service is to be asked about; None: it goes on unjudged."""
        data, wire = unit.data or b"", len(unit.wire)
        try:
            if unit.broken:
                raise Undecodable(unit.broken)
            shown, size = self._unpacked(unit, data)
        except Undecodable as error:
            passes = self._scanning.auditor.content_codings.undecodable == "bypass"
            return self._unjudged(NotScanned.UNDECODABLE, Reason.NOT_SCANNABLE, str(error), wire, passes=passes)
        if unit.whole and size <= self.limit:
            return Shown(shown, wire)
        policy = self._scanning.auditor.oversize
        if policy == "head":
            self._word = NotScanned.HEAD_ONLY
            beyond = max(0, len(data) - self.limit)
            skip(self._notes, self._side, self._word, beyond)
            return Shown(shown, wire - beyond)
        if unit.crowded:
            why, word = Reason.RESOURCE_EXHAUSTED, NotScanned.NO_ROOM
        else:
            why, word = Reason.BODY_TOO_LARGE, NotScanned.TOO_LARGE
        return self._unjudged(word, why, f"a message of more than {self.limit} bytes", wire, passes=policy == "bypass")

    def _unpacked(self, unit: Unit, data: bytes) -> tuple[bytes, int]:
        if not unit.packed:
            return data[: self.limit], len(data)
        return self._unpack.feed(data, self.limit, follow=self._scanning.auditor.oversize != "block", end=unit.last)

    async def _ask(self, unit: Unit, shown: Shown) -> Refusal | None:
        if not shown.data:
            return None
        kind = "text/plain; charset=utf-8" if unit.text else "application/octet-stream"
        message = piece_message(self._flow, self._scanning, shown.data, kind, self._asked.method)
        return self.settle(await self._asked.service.adapt(message), shown)

    def settle(self, adapted: Adapted, shown: Shown) -> Refusal | None:
        """Write a verdict down, and say what it means."""
        verdict = adapted.verdict
        self._write_down(adapted, shown.size)
        if verdict.outcome is Outcome.BLOCKED:
            self._means.keep(self._flow, self._notes, verdict, self._side, shown.data)
        if verdict.outcome in (Outcome.BLOCKED, Outcome.ERROR):
            return self.refuse(verdict.reason, verdict.signature or verdict.detail)
        if adapted.kind != "unmodified" and adapted.body != shown.data:
            return self.refuse(Reason.ICAP_BLOCKED, "the service changed a message of a stream")
        return None

    def _unjudged(self, word: NotScanned, why: Reason, detail: str, size: int, *, passes: bool) -> Refusal | None:
        if not passes:
            return self.refuse(why, detail)
        self._word = word
        skip(self._notes, self._side, word, size)
        return None

    def refuse(self, why: Reason, detail: str) -> Refusal:
        self._notes.fail(why, detail)
        code = TOO_BIG if why is Reason.BODY_TOO_LARGE else POLICY_VIOLATION
        return Refusal(code, f"{why.word}: {detail}" if detail else why.word)

    def _write_down(self, adapted: Adapted, size: int) -> None:
        """Each verdict is counted; of those that say the same of thousands of messages the record has the first."""
        notes = self._notes
        known = {(each.service, each.method, each.outcome) for each in notes.scans}
        for verdict in adapted.verdicts:
            self._means.count(verdict)
            if (verdict.service, verdict.method, verdict.outcome) not in known:
                notes.scans.append(replace(verdict, of="message"))
        weigh(adapted.verdict, notes, size, self._side)


def judge_websocket(flow: HTTPFlow, notes: TaskNotes, scanning: Scanning, means: Means) -> Stop | None:
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
            flow.metadata[JUDGES[from_client]] = MessageJudge(flow, notes, scanning, asked, own, means, unpack)
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
