"""Which service a flow's message goes to: asked when its head is here, remembered until its body is."""

from typing import cast

from mitmproxy.http import HTTPFlow, Request, Response

from addons.scanning import Scanning
from appliance.domain.target import normalise_host
from appliance.policy.scan_rules import Direction, MessageFacts, ScanRoute
from icap.client import Service

_ROUTES = {"request": "arcus.scan.request", "response": "arcus.scan.response"}


def choose(flow: HTTPFlow, scanning: Scanning, direction: Direction) -> ScanRoute:
    """The route of a message whose head has come."""
    route = scanning.rules.choose(direction, lambda: _facts(flow, direction))
    flow.metadata[_ROUTES[direction]] = route
    return route


def service_of(flow: HTTPFlow, scanning: Scanning, direction: Direction) -> Service | None:
    """The service that was chosen; chosen now for a message that had no hook for its head."""
    known = cast(ScanRoute | None, flow.metadata.get(_ROUTES[direction]))
    route = known if known is not None else choose(flow, scanning, direction)
    return scanning.services[route.use, direction] if route.use else None


def _facts(flow: HTTPFlow, direction: Direction) -> MessageFacts:
    message: Request | Response | None = flow.request if direction == "request" else flow.response
    assert message is not None  # noqa: S101 - a response's route is asked for by its own hooks
    kind = message.headers.get("content-type", "").partition(";")[0].strip().lower()
    return MessageFacts(flow.request.method, _host(flow.request), kind, _length(flow, message))


def _host(request: Request) -> str:
    try:
        return normalise_host(request.pretty_host)
    except ValueError:
        return ""


def _length(flow: HTTPFlow, message: Request | Response) -> int | None:
    """Bytes of the body, as far as its head tells. A message that has none is 0 long."""
    if isinstance(message, Response) and (flow.request.method == "HEAD" or message.status_code in (204, 304)):
        return 0
    text = message.headers.get("content-length", "")
    if text.isascii() and text.isdigit():
        return int(text)
    chunked = "transfer-encoding" in message.headers or message.is_http2
    return 0 if isinstance(message, Request) and not chunked else None
