"""What was not inspected: the ledger as a page with a JSON twin."""

import asyncio
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from appliance.audit.errors import QueryError
from appliance.audit.query.coverage import FIELDS, Ledger, Question
from appliance.domain.coverage import SPLICES, UNDECRYPTABLES, Bucket
from appliance.domain.coverage_report import BY, ORDERS, Report
from appliance.domain.not_scanned import NotScanned
from appliance.web.answers import Answers, Fault, json_response
from appliance.web.services import Services

MEANINGS = {
    **{each.word: each.text for each in Bucket},
    **{f"{Bucket.NOT_SCANNED.word} {each.word}": each.text for each in NotScanned},
    **{f"{Bucket.SPLICED.word} {word}": text for word, text in SPLICES.items()},
    **{f"{Bucket.UNDECRYPTABLE.word} {word}": text for word, text in UNDECRYPTABLES.items()},
}
"""What is shown beside a bucket and its why."""


class CoveragePages:
    def __init__(self, ledger: Ledger, services: Services, answers: Answers) -> None:
        self._ledger = ledger
        self._services = services
        self._answers = answers

    async def page(self, request: Request) -> Response:
        try:
            asked, report = await self._report(request)
        except QueryError as error:
            return await self._fault(request, error)
        given = {name: request.query_params[name] for name in FIELDS if request.query_params.get(name)}
        sorts = {order: "/coverage?" + urlencode(given | {"sort": order}, errors="replace") for order in ORDERS}
        twin = "/coverage.json?" + urlencode(given, errors="replace")
        return await self._answers.page(
            request, "coverage.html", asked=asked, report=report, given=given, sorts=sorts, twin=twin, by=BY,
            meanings=MEANINGS, tenants=sorted(self._services.tenants),
        )  # fmt: skip

    async def json(self, request: Request) -> Response:
        try:
            _, report = await self._report(request)
        except QueryError as error:
            return await self._fault(request, error)
        return json_response(report.as_dict())

    async def _report(self, request: Request) -> tuple[Question, Report]:
        asked = Question.read(request.query_params, self._services.clock.now())
        return asked, await asyncio.to_thread(asked.answer, self._ledger)

    async def _fault(self, request: Request, error: QueryError) -> Response:
        return await self._answers.fault(request, Fault(400, str(error), "docs/coverage.md has the parameters."))
