"""What a scan's result leads to: the answer to whoever asked for it."""

import logging
from dataclasses import dataclass
from typing import Final

from appliance.domain.reason import Reason
from icap.protocol.checks import is_check
from icap.protocol.events import Request, Response
from icap.protocol.headers import Field, Headers
from icap.server.findings import refusal, threat_name
from icap.server.heads import block_page
from icap.server.scanners.scanner import ScanOutcome, ScanResult
from icap.server.service import bare, istag_field

logger = logging.getLogger(__name__)

_CLAIMED: Final = (("client", "X-Client-IP"), ("subscriber", "X-Subscriber-ID"))


@dataclass(frozen=True, slots=True)
class Ruling:
    """``response``: for a client that allows 204, which stands for the message as it came. ``page``: its body."""

    response: Response
    page: bytes = b""
    scan: ScanResult | None = None
    reason: str = ""
    """Why there is no verdict, when there is none."""

    @property
    def sha256(self) -> str:
        """Of the body, in hex; empty where the scanner has not computed it."""
        return self.scan.sha256 if self.scan is not None else ""


def blocked(request: Request, result: ScanResult, istag: str, facts: tuple[Field, ...]) -> Ruling:
    """For an infected body, or one that a rule refuses: a page in its place."""
    threat = threat_name(result)
    # a find that was asked for is no news: those of the checks, several a minute, would bury the others
    asked = is_check(request.request_head)
    whose = ", a check of health" if asked else _claims(request.headers)
    level = logging.DEBUG if asked else logging.WARNING
    logger.log(level, "%s: %s, sha256 %s%s", result.outcome.value, threat, result.sha256, whose)
    reason = result.reason if result.outcome is ScanOutcome.BLOCKED else Reason.MALWARE_FOUND
    head, page = block_page(reason, threat, result.engine)
    fields = (istag_field(istag), *refusal(result), ("Cache-Control", "no-store"), *facts)
    return Ruling(Response(200, Headers(fields), response_head=head, body=True), page, result)


def undecided(result: ScanResult, istag: str, facts: tuple[Field, ...] = ()) -> Ruling:
    """For a scan without a verdict."""
    return Ruling(no_verdict(istag, result.reason, result.detail, *facts), scan=result, reason=result.reason.word)


def no_verdict(istag: str, reason: Reason, detail: str, *fields: Field) -> Response:
    """500, and the client's policy decides."""
    logger.info("no verdict: %s: %s", reason.word, detail)  # not louder: a scanner that is down says so once itself
    status = 503 if reason is Reason.RESOURCE_EXHAUSTED else 500
    return bare(status, istag, ("X-Arcus-Error", reason.word), *fields)


def _claims(headers: Headers) -> str:
    """For whom the client says that it asks, for the log."""
    given = ((what, headers.first(name)) for what, name in _CLAIMED)
    return "".join(f", {what} {value!r}" for what, value in given if value is not None)
