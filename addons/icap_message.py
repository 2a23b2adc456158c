"""HTTP messages to ICAP and back: what a service is shown, and how its answer becomes a flow's message."""

from mitmproxy.http import HTTPFlow, Response
from mitmproxy.http import Message as HttpMessage

from addons.carry import task_of
from addons.scanning import Scanning
from appliance.domain.notes import TaskNotes
from appliance.policy.scan_rules import Direction
from icap.client import Adapted, Body, HttpHead, Identity, Message, encapsulate, parse_head
from icap.client.message import Head, Method


def request_message(flow: HTTPFlow, scanning: Scanning, streamed: Body | None = None, *, plain: bool = False) -> Message:
    """For REQMOD: the request with its body. ``plain``: the body's codings have been undone."""
    notes, body = task_of(flow), streamed or flow.request.raw_content
    length = -1 if plain else _length(body, flow.request, scanning)
    head = Head(lambda: _request_head(flow, length, plain=plain))
    coding = b"" if plain else _coding(flow.request)
    return Message("REQMOD", head, None, body, _who(notes, scanning), notes.task_id, _tenant(notes), coding=coding)


def response_message(
    flow: HTTPFlow, response: Response, scanning: Scanning, streamed: Body | None = None, *, plain: bool = False
) -> Message:
    """For RESPMOD: the response with its body, and the head of the request that it answers."""
    notes, body = task_of(flow), streamed or response.raw_content
    length = -1 if plain else _length(body, response, scanning)
    head = Head(lambda: _response_head(response, length, plain=plain))
    ask, coding = Head(lambda: _request_head(flow, None)), b"" if plain else _coding(response)
    return Message("RESPMOD", ask, head, body, _who(notes, scanning), notes.task_id, _tenant(notes), coding=coding)


def piece_message(flow: HTTPFlow, scanning: Scanning, data: bytes, kind: str, method: Method) -> Message:
    """One message of a stream, shown as a request or a response of its own: ``data`` of the media type ``kind``."""
    notes, host = task_of(flow), flow.request.pretty_host.encode("utf-8", "surrogateescape")
    fields = ((b"Content-Type", kind.encode("latin-1", "replace")),)
    url = flow.request.url.encode("utf-8", "surrogateescape")
    asked = HttpHead((b"POST " if method == "REQMOD" else b"GET ") + url + b" HTTP/1.1", ((b"Host", host),))
    who, tenant = _who(notes, scanning), _tenant(notes)
    if method == "REQMOD":
        head = encapsulate(HttpHead(asked.start_line, (*asked.fields, *fields)), len(data))
        return Message("REQMOD", head, None, data, who, notes.task_id, tenant)
    answered = encapsulate(HttpHead(b"HTTP/1.1 200 OK", fields), len(data))
    return Message("RESPMOD", encapsulate(asked, None), answered, data, who, notes.task_id, tenant)


def unit_message(flow: HTTPFlow, scanning: Scanning, data: bytes, kind: str, side: Direction) -> Message:
    """A unit of a body without an end, as the body of that message with the media type ``kind``: its heads are shown whole."""
    notes = task_of(flow)
    who, tenant = _who(notes, scanning), _tenant(notes)
    if side == "request" or flow.response is None:
        head = _with_kind(_request_head(flow, len(data), plain=True), kind)
        return Message("REQMOD", head, None, data, who, notes.task_id, tenant)
    head = _with_kind(_response_head(flow.response, len(data), plain=True), kind)
    return Message("RESPMOD", _request_head(flow, None), head, data, who, notes.task_id, tenant)


def _with_kind(head: bytes, kind: str) -> bytes:
    lines = head.split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"content-type:")]
    return b"\r\n".join((*kept[:-2], b"Content-Type: " + kind.encode("latin-1", "replace"), b"", b""))


def _tenant(notes: TaskNotes) -> str:
    return str(notes.conn.tenant or "")


def replace_request(flow: HTTPFlow, adapted: Adapted) -> None:
    """Fields and body may change; the destination may not: it was decided before the service was asked."""
    head = parse_head(adapted.head or b"")
    host = flow.request.headers.get("host")
    flow.request.headers.fields = head.fields
    if flow.request.is_http2:
        flow.request.headers.pop("host", None)
    elif host is not None:
        flow.request.headers["host"] = host
    flow.request.data.content = None if isinstance(adapted.body, Body) else adapted.body or b""


def to_response(adapted: Adapted, flow: HTTPFlow) -> Response:
    """The service's response, in the HTTP version of the client."""
    head = parse_head(adapted.head or b"")
    body = adapted.body
    response = Response.make(head.status, b"" if isinstance(body, Body) else body or b"")
    response.headers.fields = head.fields
    response.http_version = "HTTP/2.0" if flow.request.is_http2 else "HTTP/1.1"
    if isinstance(body, Body):
        response.data.content = None  # the engine sends it from there
    return response


def _who(notes: TaskNotes, scanning: Scanning) -> Identity:
    if not scanning.auditor.icap_send_identity:
        return Identity()
    conn = notes.conn
    user, tenant = conn.user.name if conn.user else "", conn.tenant or ""
    return Identity(
        client_ip=conn.client.ip, user=user, tenant=tenant, server_ip=conn.escape.resolved_ip if conn.escape else "",
        # user names and private addresses may repeat from tenant to tenant; together with it they are one subscriber
        subscriber=f"{tenant}/{user or conn.client.ip}",
    )  # fmt: skip


def _request_head(flow: HTTPFlow, body_length: int | None, *, plain: bool = False) -> bytes:
    request = flow.request
    fields = request.headers.fields
    if request.is_http2 and "host" not in request.headers:
        fields = ((b"Host", request.authority.encode("utf-8", "surrogateescape")), *fields)
    fields = _uncoded(fields) if plain else fields
    line = f"{request.method} {request.url} HTTP/1.1".encode("utf-8", "surrogateescape")
    return encapsulate(HttpHead(line, fields), body_length)


def _length(body: bytes | Body | None, message: HttpMessage, scanning: Scanning) -> int | None:
    """What the service may be told of the body's length: of one that still arrives, what its head says, unless only its
    first bytes will be shown."""
    if not isinstance(body, Body):
        return len(body or b"")
    announced = message.headers.get("content-length", "")
    whole = announced.isdigit() and int(announced) <= scanning.auditor.max_scan_size
    return int(announced) if whole else -1


def _response_head(response: Response, body_length: int | None, *, plain: bool) -> bytes:
    line = f"HTTP/1.1 {response.status_code} {response.reason or 'Unknown'}".encode("latin-1", "replace")
    fields = _uncoded(response.headers.fields) if plain else response.headers.fields
    return encapsulate(HttpHead(line, fields), body_length or None)


def _coding(message: HttpMessage) -> bytes:
    return b",".join([value.strip() for name, value in message.headers.fields if name.lower() == b"content-encoding"]).lower()


def _uncoded(fields: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(field for field in fields if field[0].lower() != b"content-encoding")
