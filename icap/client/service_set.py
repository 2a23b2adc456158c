"""Several services of which one is asked."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from appliance.domain.reason import Source
from appliance.domain.verdict import Outcome, ScanVerdict
from icap.client.message import Adapted, Message, Service

type Strategy = Literal["round_robin", "failover"]


@dataclass(frozen=True, slots=True)
class Member:
    """``available``: False while the service is known not to answer; it is then asked after all others."""

    service: Service
    available: Callable[[], bool] = lambda: True


class ServiceSet:
    """``round_robin``: members take turns. ``failover``: the first that is available. A member that fails is followed by
    the next, each once; the last failure is the set's. Who failed stands in ``Adapted.links`` as ``Outcome.FAILED``."""

    def __init__(self, members: Sequence[Member], strategy: Strategy = "failover", *, first: int = 0) -> None:
        """``first``: whose turn it is; workers begin with different ones."""
        if not members:
            raise ValueError("a set without members")
        self._members = tuple(members)
        self._turns = strategy == "round_robin"
        self._turn = first

    async def adapt(self, message: Message) -> Adapted:
        failed: list[ScanVerdict] = []
        order = self._order()
        adapted = await next(order).adapt(message)
        for service in order:
            if not _another_may_do(adapted.verdict):
                break
            failed += (replace(each, outcome=Outcome.FAILED) for each in adapted.verdicts)
            adapted = await service.adapt(message)
        return replace(adapted, links=(*failed, *adapted.verdicts)) if failed else adapted

    def _order(self) -> Iterator[Service]:
        members = self._members
        if self._turns:
            start = self._turn % len(members)
            self._turn = start + 1
            members = (*members[start:], *members[:start])
        later = []
        for member in members:
            if member.available():
                yield member.service
            else:
                later.append(member.service)
        yield from later


def _another_may_do(verdict: ScanVerdict) -> bool:
    """The service failed, and not the message: one that is too large, or breaks off, is so for all members."""
    return verdict.outcome is Outcome.ERROR and verdict.reason.source is Source.ICAP
