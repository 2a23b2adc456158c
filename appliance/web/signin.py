"""Only who is signed in gets further than the public paths: everything else is closed, routes to come included."""

import logging
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from appliance.control.token import Verifier
from appliance.web.answers import STATE_KEY, Answers, Fault, wants_json
from appliance.web.sessions import COOKIE, Sessions

logger = logging.getLogger(__name__)

PUBLIC = frozenset({"/login", "/health", "/ready", "/metrics"})
PUBLIC_FOLDERS = ("/static/", "/pki/")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="Arcus"'}


class SignIn:
    """By session cookie, or by ``Authorization: Bearer`` with the admin token."""

    def __init__(self, app: ASGIApp, answers: Answers, sessions: Sessions, verifier: Verifier) -> None:
        self._app = app
        self._answers = answers
        self._sessions = sessions
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        scope[STATE_KEY] = self._sessions.alive(request.cookies.get(COOKIE, ""))
        if is_public(request.url.path):
            await self._app(scope, receive, send)
            return
        refusal = await self._refusal(request)
        scope[STATE_KEY] = refusal is None
        await (refusal or self._app)(scope, receive, send)

    async def _refusal(self, request: Request) -> Response | None:
        token = bearer(request)
        if token is not None:
            return await refuse_token(self._answers, self._verifier, request, token)
        if request.scope[STATE_KEY]:
            return None
        if wants_json(request):
            advice = "send Authorization: Bearer with the admin token"
            return await self._answers.fault(request, Fault(401, "not signed in", advice, _CHALLENGE))
        return RedirectResponse("/login?" + urlencode({"next": _here(request)}, errors="replace"), 303)


def is_public(path: str) -> bool:
    return path in PUBLIC or path.startswith(PUBLIC_FOLDERS)


def bearer(request: Request) -> str | None:
    """The token of the Authorization header; empty for one that cannot be right."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


async def refuse_token(answers: Answers, verifier: Verifier, request: Request, token: str) -> Response | None:
    """The answer to a wrong token, or to too many of them; None for the right one."""
    attempt = await verifier.attempt(token, address_of(request))
    if attempt.ok:
        return None
    if attempt.retry_after:
        seconds = str(int(attempt.retry_after) + 1)
        advice = f"Try again in {seconds} seconds."
        return await answers.fault(request, Fault(429, "Too many wrong tokens", advice, {"Retry-After": seconds}))
    logger.warning("a wrong admin token", extra={"client": address_of(request)})
    advice = "The token was printed at the first start. Delete admin-token in the state directory and restart for a new one."
    return await answers.fault(request, Fault(401, "This token is not right", advice, _CHALLENGE))


def _here(request: Request) -> str:
    safe = request.method in ("GET", "HEAD")
    return request.url.path + (f"?{request.url.query}" if request.url.query else "") if safe else "/audit"
