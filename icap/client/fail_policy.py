"""What becomes of a message that a service could not judge."""

from dataclasses import replace
from typing import Literal

from appliance.domain.reason import Reason, Source
from appliance.domain.verdict import Outcome
from icap.client.message import Adapted, Message, Service

type OnFailure = Literal["block", "bypass"]


class FailPolicy:
    """A service whose failures are decided here, at the moment at which they happen: ``Outcome.ERROR`` stays one (block),
    or becomes ``Outcome.BYPASSED``. Never bypassed are a verdict, an answer of which something was used (neither is an error
    any more when it comes here), and a message that itself broke off, or for which there was no room."""

    def __init__(self, service: Service, *, on_error: OnFailure = "block", on_overload: OnFailure | None = None) -> None:
        """``on_overload``: for a service that has more work than it takes; None: as ``on_error``."""
        self._service = service
        self._on_error = on_error
        self._on_overload = on_overload or on_error

    async def adapt(self, message: Message) -> Adapted:
        adapted = await self._service.adapt(message)
        verdict = adapted.verdict
        if verdict.outcome is not Outcome.ERROR or self._policy(verdict.reason) != "bypass":
            return adapted
        bypassed = replace(verdict, outcome=Outcome.BYPASSED)
        return Adapted(bypassed, links=(*adapted.verdicts[:-1], bypassed))

    def _policy(self, reason: Reason) -> OnFailure | None:
        if reason.source is not Source.ICAP and reason is not Reason.BODY_TOO_LARGE:
            return None
        return self._on_overload if reason is Reason.ICAP_OVERLOAD else self._on_error
