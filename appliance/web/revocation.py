"""CRL, OCSP and the CA's certificate, for whoever checks a forged leaf: no sign-in, nothing of the appliance in it."""

import asyncio
import logging

from starlette.requests import Request
from starlette.responses import Response

from appliance.domain.errors import ArcusError
from appliance.web.answers import Answers, Fault
from appliance.web.services import Revocations

logger = logging.getLogger(__name__)

_NONE = Fault(404, "There is nothing here", "The addresses are in the certificates that the appliance forges.")
_BROKEN = Fault(503, "This cannot be answered now", "The log of the admin process has the cause.", {"Retry-After": "60"})


class RevocationPages:
    """``revocations`` None: no CA publishes anything."""

    def __init__(self, revocations: Revocations | None, answers: Answers) -> None:
        self._revocations = revocations
        self._answers = answers

    async def answer(self, request: Request) -> Response:
        if self._revocations is None:
            return await self._answers.fault(request, _NONE)
        body = await request.body()
        try:
            found = await asyncio.to_thread(self._revocations, request.method, request.scope["path"], body)
        except (OSError, ArcusError) as error:
            logger.error("revocation cannot be answered", extra={"error": str(error)})
            return await self._answers.fault(request, _BROKEN)
        if found.status == 404:
            return await self._answers.fault(request, _NONE)
        return Response(found.body, found.status, dict(found.headers))
