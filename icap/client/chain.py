"""Several services one after the other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from appliance.domain.verdict import Outcome, ScanVerdict
from icap.client.body import Body
from icap.client.message import Adapted, Message, Service

STOPS: Final = frozenset({Outcome.BLOCKED, Outcome.ERROR})
_STRICTNESS: Final = (
    Outcome.FAILED,
    Outcome.CLEAN,
    Outcome.MODIFIED,
    Outcome.SKIPPED,
    Outcome.BYPASSED,
    Outcome.ERROR,
    Outcome.BLOCKED,
)


class Chain:
    """Each link is shown what the one before it made of the message. The first that stops the message ends the chain;
    else the strictest verdict is the chain's, and every link's verdict is in ``Adapted.links``."""

    def __init__(self, links: Sequence[Service]) -> None:
        """``links`` in the order in which they are asked: for responses the reverse of what is configured."""
        if not links:
            raise ValueError("a chain without links")
        self._links = tuple(links)

    async def adapt(self, message: Message) -> Adapted:
        verdicts: list[ScanVerdict] = []
        changed: Adapted | None = None
        for link in self._links:
            adapted = await link.adapt(message)
            verdicts += adapted.verdicts
            stopped = adapted.verdict.outcome in STOPS or _satisfied(message, adapted)
            if changed is not None and (stopped or adapted.kind != "unmodified"):
                _drop(changed)
            if stopped:
                return replace(adapted, links=tuple(verdicts))
            if adapted.kind != "unmodified":
                message, changed = _as_changed(message, adapted), adapted
        links, verdict = tuple(verdicts), strictest(verdicts)
        return Adapted(verdict, links=links) if changed is None else replace(changed, verdict=verdict, links=links)


def strictest(verdicts: Sequence[ScanVerdict]) -> ScanVerdict:
    """The first of those that no other one is stricter than."""
    return max(verdicts, key=lambda verdict: _STRICTNESS.index(verdict.outcome))


def _satisfied(message: Message, adapted: Adapted) -> bool:
    """A service has answered the request itself (RFC 3507 section 4.8.2): there is no request left to show to others."""
    return message.method == "REQMOD" and adapted.kind == "response"


def _drop(changed: Adapted) -> None:
    """What one link made of the message is not used in the end: its room is given back."""
    if isinstance(changed.body, Body):
        changed.body.close()


def _as_changed(message: Message, adapted: Adapted) -> Message:
    if message.method == "REQMOD":
        return replace(message, request_head=adapted.head or b"", body=adapted.body, coding=None)
    return replace(message, response_head=adapted.head, body=adapted.body, coding=None)
