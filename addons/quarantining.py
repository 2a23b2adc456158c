"""An infected body, as it was transferred, on its way into the tenant's quarantine."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO, Protocol

from mitmproxy.http import HTTPFlow, Request, Response

from addons.streaming import Streamed
from appliance.domain.notes import TaskNotes
from appliance.domain.quarantine import Item, Keeping
from appliance.domain.reason import Reason
from appliance.domain.text import printable
from appliance.domain.verdict import Outcome, ScanVerdict
from appliance.policy.scan_rules import Direction

_LINE = 300
_PACKED = frozenset(("gzip", "x-gzip"))


class Quarantine(Protocol):
    """See ``appliance.quarantine.keeper``."""

    def take(self, tenant: str, size: int, make: Callable[[], tuple[Item, BinaryIO]]) -> str: ...
    def refuse(self, tenant: str, why: Keeping) -> str: ...


def put_away(
    quarantine: Quarantine, flow: HTTPFlow, notes: TaskNotes, verdict: ScanVerdict, streamed: Streamed | None, now: float
) -> None:
    """Keep the body that a verdict calls infected, and say in the notes under which id, or why not. Call it while the flow
    still has it."""
    if verdict.outcome is not Outcome.BLOCKED or verdict.reason is not Reason.MALWARE_FOUND:
        return
    found = Item("", str(notes.conn.tenant or ""), now)
    if streamed is None:
        body = _held(flow, verdict)

        def make() -> tuple[Item, BinaryIO]:
            return item_of(found, flow, notes, verdict, hashlib.sha256(body).hexdigest(), len(body)), io.BytesIO(body)

        notes.quarantine = quarantine.take(found.tenant, len(body), make)
    elif streamed.whole:
        whole = streamed.body

        def copy() -> tuple[Item, BinaryIO]:
            return item_of(found, flow, notes, verdict, whole.sha256, whole.size), whole.copy()

        notes.quarantine = quarantine.take(found.tenant, whole.size, copy)
    else:
        notes.quarantine = quarantine.refuse(found.tenant, Keeping.INCOMPLETE)


def note_packed(flow: HTTPFlow, notes: TaskNotes, verdict: ScanVerdict) -> None:
    """Say in the notes where a hash is of the gzip form of a body: of a body that was unpacked for its scan it is not."""
    message = message_of(flow, verdict)
    if verdict.sha256 and message is not None and message.headers.get("content-encoding", "").strip().lower() in _PACKED:
        notes.packed.append("request" if verdict.method == "REQMOD" else "response")


def put_away_message(
    quarantine: Quarantine, flow: HTTPFlow, notes: TaskNotes, verdict: ScanVerdict, side: Direction, data: bytes, now: float
) -> None:
    """The same for one message of a stream, as the scanner was shown it. Of one task the first is kept."""
    if verdict.reason is not Reason.MALWARE_FOUND or notes.quarantine:
        return
    found = Item("", str(notes.conn.tenant or ""), now)

    def make() -> tuple[Item, BinaryIO]:
        item = item_of(found, flow, notes, verdict, hashlib.sha256(data).hexdigest(), len(data))
        return replace(item, side=side, coding=""), io.BytesIO(data)

    notes.quarantine = quarantine.take(found.tenant, len(data), make)


def message_of(flow: HTTPFlow, verdict: ScanVerdict) -> Request | Response | None:
    """The message that a verdict is about."""
    return flow.request if verdict.method == "REQMOD" else flow.response


def _held(flow: HTTPFlow, verdict: ScanVerdict) -> bytes:
    message = message_of(flow, verdict)
    return (message.raw_content if message is not None else None) or b""


def item_of(
    found: Item, flow: HTTPFlow, notes: TaskNotes, verdict: ScanVerdict, sha256: str, size: int, *, plain: bool = False
) -> Item:
    """What is known of a body. ``plain``: its coding was undone."""
    message, user = message_of(flow, verdict), notes.conn.user
    return replace(
        found,
        task=notes.task_id,
        host=notes.target.host if notes.target else "",
        sha256=sha256,
        size=size,
        signature=printable(verdict.signature, _LINE),
        user=printable(user.name, _LINE) if user else "",
        client=notes.conn.client.ip,
        side="request" if verdict.method == "REQMOD" else "response",
        coding=printable(message.headers.get("content-encoding", ""), _LINE) if message is not None and not plain else "",
    )
