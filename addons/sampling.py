"""A body that was found clean, on its way into the tenant's samples."""

import io
from collections.abc import Callable
from typing import BinaryIO, Protocol

from mitmproxy.http import HTTPFlow

from addons.quarantining import item_of, message_of
from addons.scanning import media_type
from addons.streaming import Streamed
from appliance.domain.notes import TaskNotes
from appliance.domain.quarantine import Item
from appliance.domain.verdict import Outcome, ScanVerdict


class Samples(Protocol):
    """See ``appliance.retro.sampler``."""

    def take(
        self, tenant: str, sha256: str, size: int, media_type: str, make: Callable[[], tuple[Item, BinaryIO]]
    ) -> str: ...  # fmt: skip


def keep(
    samples: Samples, flow: HTTPFlow, notes: TaskNotes, verdict: ScanVerdict, streamed: Streamed | None, now: float
) -> None:
    """Keep the body that a verdict calls clean, as its scanner was shown it: whole, or not at all."""
    message = message_of(flow, verdict)
    if verdict.outcome is not Outcome.CLEAN or message is None or (streamed is not None and not streamed.whole):
        return

    def make() -> tuple[Item, BinaryIO]:
        source = io.BytesIO(message.raw_content or b"") if streamed is None else streamed.shown.copy()
        plain = streamed is not None and streamed.transferred is not None
        return item_of(Item("", tenant, now), flow, notes, verdict, verdict.sha256, verdict.size, plain=plain), source

    tenant = str(notes.conn.tenant or "")
    if told := samples.take(tenant, verdict.sha256, verdict.size, media_type(message), make):
        notes.samples["request" if verdict.method == "REQMOD" else "response"] = told
