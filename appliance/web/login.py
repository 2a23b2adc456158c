"""Signing in and out."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.control.token import Verifier
from appliance.web.answers import Answers, Fault
from appliance.web.forms import FORM, form_fields, media_type
from appliance.web.sessions import COOKIE, LIFETIME, Sessions
from appliance.web.signin import refuse_token

START = "/audit"


class LoginPages:
    def __init__(self, answers: Answers, sessions: Sessions, verifier: Verifier) -> None:
        self._answers = answers
        self._sessions = sessions
        self._verifier = verifier

    async def form(self, request: Request) -> Response:
        target = local_path(request.query_params.get("next", ""))
        return await self._answers.page(request, "login.html", target=target)

    async def submit(self, request: Request) -> Response:
        """A new session id for each login; the one the browser came with ends."""
        if media_type(request) != FORM:
            return await self._answers.fault(request, Fault(415, "This is no form", "Send token=... as a form."))
        fields = await form_fields(request)
        token = fields.get("token", "").strip()
        refusal = await refuse_token(self._answers, self._verifier, request, token)
        if refusal is not None:
            return refusal
        response = RedirectResponse(local_path(fields.get("next", "")), 303)
        session = self._sessions.open(request.cookies.get(COOKIE, ""))
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, session, int(LIFETIME), path="/", secure=secure, httponly=True, samesite="strict")
        return response

    async def logout(self, request: Request) -> Response:
        self._sessions.close(request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response


def local_path(text: str) -> str:
    """Where to go after signing in: a path of ours, or the start. Browsers take ``//x`` and ``/\\x`` for another host."""
    harmless = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isascii() and text.isprintable()
    return text if harmless else START
