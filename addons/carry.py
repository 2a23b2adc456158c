"""How notes travel on mitmproxy's objects, and how an addon answers in place of the server."""

from collections.abc import Callable
from typing import Protocol, cast

from mitmproxy.connection import Client, Server
from mitmproxy.http import Headers, HTTPFlow, Response

from appliance.domain.notes import ConnNotes, TaskNotes
from appliance.domain.target import parse_authority

_TASK = "arcus.task"
_OURS = "arcus.ours"
# read by the engine's HTTP streams (engine.task_http)
_LIMIT = "arcus.limit"
_BYPASS = "arcus.oversize"
_BODY = "arcus.body"


class PageLike(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def body(self) -> bytes: ...


type Pages = Callable[[TaskNotes, str], PageLike]


def conn_of(client: Client) -> ConnNotes:
    """The notes of a client connection; the handler put them there."""
    return cast(ConnNotes, client.arcus)  # type: ignore[attr-defined]


def verified_name(client: Client, server: Server) -> str:
    """The name that a server's certificate has to be for; empty when none is known."""
    return server.sni or client.sni or (server.address[0] if server.address else "")


def task_of(flow: HTTPFlow) -> TaskNotes:
    """The notes of a flow. Raises KeyError for a flow that ``identify`` has not seen."""
    return cast(TaskNotes, flow.metadata[_TASK])


def known_task(flow: HTTPFlow) -> TaskNotes | None:
    return cast(TaskNotes | None, flow.metadata.get(_TASK))


def attach(flow: HTTPFlow, notes: TaskNotes) -> None:
    flow.metadata[_TASK] = notes


def answer(flow: HTTPFlow, page: PageLike, notes: TaskNotes) -> None:
    """Put our own response in place; the server is not asked, or its answer is replaced."""
    if flow.response is not None and not is_ours(flow):
        notes.upstream_status = flow.response.status_code
    headers = Headers([(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in page.headers])
    flow.response = Response.make(page.status, page.body, headers)
    flow.response.http_version = "HTTP/2.0" if flow.request.is_http2 else "HTTP/1.1"
    flow.request.stream = False
    mark_ours(flow)
    notes.status = page.status


def mark_ours(flow: HTTPFlow) -> None:
    flow.metadata[_OURS] = True


def is_ours(flow: HTTPFlow) -> bool:
    """Whether the response is a page of our own, which is neither scanned nor counted as the server's."""
    return _OURS in flow.metadata


def limit_body(flow: HTTPFlow, size: int, then: str, on_bypass: Callable[[str], Callable[[bytes], bytes]]) -> None:
    """How many bytes of a body may be held, and what happens beyond: ``block``, or ``bypass`` to stream the rest.

    ``on_bypass`` is called with ``request`` or ``response`` when that happens, and gives the stream function.
    """
    flow.metadata[_LIMIT] = (size, then)
    flow.metadata[_BYPASS] = on_bypass


def claimed_host(flow: HTTPFlow) -> str:
    """The host that the message names. Where it is no host at all, the strict layer has refused it before."""
    claimed = flow.request.host_header
    if not claimed:
        return ""
    try:
        return parse_authority(claimed, 443).host
    except ValueError:
        return ""


def keep_body(flow: HTTPFlow, size: int) -> None:
    """The flow is answered when its body is there, up to ``size`` bytes; what stands as its response until then is not sent."""
    limit_body(flow, size, "block", _not_bypassed)
    flow.metadata[_BODY] = True


def keeps_body(flow: HTTPFlow) -> bool:
    return _BODY in flow.metadata


def _not_bypassed(_side: str) -> Callable[[bytes], bytes]:
    raise AssertionError("a body over the limit is refused")


def drop_fields(headers: Headers, names: frozenset[bytes]) -> None:
    """Remove fields by their lower-case names in one pass: mitmproxy's own look-up walks and decodes all, for each name."""
    kept = tuple(field for field in headers.fields if field[0].lower() not in names)
    if len(kept) != len(headers.fields):
        headers.fields = kept
