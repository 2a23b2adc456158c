"""Asking the same service again."""

from dataclasses import replace
from typing import Final

from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from icap.client.message import Adapted, Message, Service

REPEATABLE: Final = frozenset(
    {
        Reason.ICAP_UNREACHABLE,
        Reason.ICAP_TIMEOUT,
        Reason.ICAP_ERROR,
        Reason.SCANNER_UNREACHABLE,
        Reason.SCANNER_TIMEOUT,
        Reason.SCANNER_ERROR,
    }
)
"""Failures that may be over a moment later. An answer that contradicts itself, or a service that is overloaded, is not made
better by asking again."""


class Repeat:
    """After a real failure the message is sent again, up to ``times``; a message that came to nothing is whole, so it can be.
    Each failure counts against the service, and stands in ``Adapted.links`` as ``Outcome.FAILED``.

    That a kept connection turned out to be closed is no failure, and is mended by the service itself.
    """

    def __init__(self, service: Service, times: int) -> None:
        self._service = service
        self._times = times

    async def adapt(self, message: Message) -> Adapted:
        failed: list[ScanVerdict] = []
        adapted = await self._service.adapt(message)
        for _ in range(self._times):
            if adapted.verdict.outcome is not Outcome.ERROR or adapted.verdict.reason not in REPEATABLE:
                break
            failed += (replace(each, outcome=Outcome.FAILED) for each in adapted.verdicts)
            adapted = await self._service.adapt(message)
        return replace(adapted, links=(*failed, *adapted.verdicts)) if failed else adapted
