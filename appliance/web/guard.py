"""What stands before every route: Host, origin, and headers of the answer. Pure ASGI, outermost first."""

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.domain.target import parse_ip
from appliance.web.answers import Answers, Fault, json_response
from appliance.web.services import HostNames
from appliance.web.sessions import COOKIE

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # not no-referrer: browsers would then send "Origin: null" with our own forms (Fetch standard, section 3.2)
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class SafeHeaders:
    """Headers of every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # nothing here speaks WebSocket, and what stands behind this expects a request
            await send({"type": "websocket.close", "code": 1003})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class KnownHost:
    """Refuses names that are not ours: a page that makes its own name point here (DNS rebinding) is of another origin."""

    def __init__(self, app: ASGIApp, hosts: HostNames) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        values = Request(scope).headers.getlist("host")
        if len(values) == 1 and self._known(host_part(values[0])):
            await self._app(scope, receive, send)
            return
        advice = "use the listen address, localhost, or a name in admin.names of the configuration"
        await json_response({"error": "this is no name of the appliance", "advice": advice}, 421)(scope, receive, send)

    def _known(self, host: str) -> bool:
        return host in self._hosts.names or (self._hosts.any_address and parse_ip(host) is not None)


def host_part(value: str) -> str:
    """A Host header without its port, in lower case, IPv6 without brackets."""
    text = value.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


class SameOrigin:
    """Refuses unsafe requests that another site's page makes a browser send (CSRF, also against the login)."""

    def __init__(self, app: ASGIApp, answers: Answers) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        if request.method in SAFE_METHODS or same_origin(request):
            await self._app(scope, receive, send)
            return
        fault = Fault(403, "This request came from another site", "Open the appliance's own page and try there.")
        await (await self._answers.fault(request, fault))(scope, receive, send)


def same_origin(request: Request) -> bool:
    """By what browsers say and pages cannot change. Without a word of either header it is no browser of today: then it
    may go on if it brings no cookie that a browser would have added by itself."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    if origin is not None:
        # not the scheme: a TLS proxy in front of us changes it
        scheme, _, authority = origin.lower().partition("://")
        return scheme in ("http", "https") and authority == request.headers.get("host", "").lower()
    return site is not None or COOKIE not in request.cookies
