"""Message heads: found, checked and taken apart in one pass.

``read_head`` is the only reading of a client's request head; the explicit proxy's front end and the layers share it.
"""

from dataclasses import dataclass

from appliance.config.server import Limits
from appliance.domain.errors import ClientError
from appliance.domain.target import Target
from appliance.engine.http.faults import CLIENT_REASONS, BadMessage, Fault
from appliance.engine.http.framing import BodyKind, Framing, request_framing, response_framing
from appliance.engine.http.grammar import ILLEGAL_IN_HEAD, REQUEST_LINE, STATUS_LINE, Field, parse_fields
from appliance.engine.http.hops import CONNECTION_FIELDS, PROXY_ANSWER_FIELDS, SortedFields, sort_fields, tokens
from appliance.engine.http.request_target import (
    DEFAULT_PORTS,
    RequestTarget,
    TargetForm,
    check_method,
    check_same_host,
    parse_host,
    parse_target,
)

_LINE_OVERHEAD = 48
"""Longest method, spaces and version: a request line longer than this plus the URL limit has too long a URL."""
_DROPPED_FROM_RESPONSES = CONNECTION_FIELDS | PROXY_ANSWER_FIELDS


@dataclass(frozen=True, slots=True)
class RequestHead:
    """``fields`` is free of connection fields, except ``Connection: Upgrade`` and ``Upgrade`` of a WebSocket handshake."""

    method: bytes
    line: RequestTarget
    http11: bool
    fields: tuple[Field, ...]
    host: bytes
    """The Host field, empty when an HTTP/1.0 request has none."""
    target: Target | None
    """The destination that the request names, by its target or else by Host; None when it names none."""
    framing: Framing
    keep_alive: bool
    websocket: bool
    size: int
    """Bytes of the buffer that the head takes, an ignored leading CRLF included."""

    @property
    def form(self) -> TargetForm:
        return self.line.form


@dataclass(frozen=True, slots=True)
class ResponseHead:
    status: int
    reason: bytes
    http11: bool
    fields: tuple[Field, ...]
    framing: Framing
    keep_alive: bool
    websocket: bool
    size: int


def read_head(buf: bytes | bytearray, limits: Limits, default_port: int = 80, scanned: int = 0) -> RequestHead | None:
    """The request head that ``buf`` starts with, or None when it is still incomplete.

    ``default_port`` is that of a Host field without one; ``scanned`` bytes were seen by an earlier call that returned None.

    Raises:
        ClientError: with the reason word of the rule or limit that the head breaks.
    """
    try:
        return parse_request_head(buf, limits, default_port, scanned)
    except BadMessage as error:
        raise ClientError(CLIENT_REASONS[error.fault], error.detail) from error


def parse_request_head(buf: bytes | bytearray, limits: Limits, default_port: int, scanned: int = 0) -> RequestHead | None:
    """``read_head`` for callers inside this package: raises BadMessage."""
    # RFC 9112 section 2.2: one empty line before a request is an old client's mistake, more is not.
    start = 2 if buf.startswith(b"\r\n") else 0
    line_limit = min(limits.url_length + _LINE_OVERHEAD, limits.header_size)
    _check_first_line(buf, start, line_limit, limits.header_size)
    end = _find_end(buf, start, limits.header_size, scanned)
    if end < 0:
        return None
    line, block = _split(buf, start, end)
    match = REQUEST_LINE.match(line)
    if match is None:
        raise BadMessage(Fault.GRAMMAR, "malformed request line")
    method, raw, minor = match.groups()
    if len(raw) > limits.url_length:
        raise BadMessage(Fault.URL_LENGTH, f"request target over {limits.url_length} bytes")
    check_method(method)
    parsed = sort_fields(parse_fields(block, limits.header_count))
    return _request(method, raw, minor == b"1", parsed, default_port, end)


def _request(method: bytes, raw: bytes, http11: bool, parsed: SortedFields, default_port: int, size: int) -> RequestHead:
    line = parse_target(method, raw)
    host = _single_host(parsed.values(b"host"), http11)
    framing = request_framing(parsed.values(b"content-length"), parsed.values(b"transfer-encoding"), http11)
    if framing[0] is not BodyKind.NONE and method in (b"CONNECT", b"TRACE"):
        raise BadMessage(Fault.AMBIGUOUS, "a body where the method has none")
    websocket = method == b"GET" and http11 and framing[0] is BodyKind.NONE and _is_websocket(parsed)
    fields = _request_fields(parsed, websocket, framing, http11)
    return RequestHead(
        method, line, http11, fields, host,
        _destination(line, host, default_port),
        framing,
        _persistent(parsed, http11),
        websocket,
        size,
    )  # fmt: skip


def parse_response_head(buf: bytes | bytearray, limits: Limits, method: bytes, scanned: int = 0) -> ResponseHead | None:
    """The response head that ``buf`` starts with, to a request with ``method``; None: incomplete. Raises BadMessage."""
    limit = limits.response_header_size
    end = _find_end(buf, 0, limit, scanned)
    if end < 0:
        return None
    line, block = _split(buf, 0, end)
    match = STATUS_LINE.match(line)
    if match is None:
        raise BadMessage(Fault.GRAMMAR, "malformed status line")
    minor, code, phrase = match.groups()
    status, http11 = int(code), minor == b"1"
    parsed = sort_fields(parse_fields(block, limits.header_count), _DROPPED_FROM_RESPONSES)
    lengths, codings = parsed.values(b"content-length"), parsed.values(b"transfer-encoding")
    framing = response_framing(lengths, codings, http11, status, method == b"HEAD")
    websocket = status == 101 and _is_upgrade(parsed)
    keep_alive = _persistent(parsed, http11) and framing[0] is not BodyKind.UNTIL_CLOSE and not (status == 204 and codings)
    fields = _response_fields(parsed, websocket, status)
    return ResponseHead(status, phrase or b"", http11, fields, framing, keep_alive, websocket, end)


def _check_first_line(buf: bytes | bytearray, start: int, line_limit: int, header_size: int) -> None:
    if len(buf) - start <= line_limit:
        return
    if buf.find(b"\r\n", start, start + line_limit + 2) < 0:
        by_url = line_limit < header_size
        raise BadMessage(Fault.URL_LENGTH if by_url else Fault.HEAD_SIZE, f"first line over {line_limit} bytes")


def _find_end(buf: bytes | bytearray, start: int, limit: int, scanned: int) -> int:
    """Where the head's blank line ends, or -1. ``limit`` counts from the first line through the blank line."""
    end = buf.find(b"\r\n\r\n", max(start, scanned - 3))
    if end >= 0:
        if end + 4 - start > limit:
            raise BadMessage(Fault.HEAD_SIZE, f"header over {limit} bytes")
        return end + 4
    stop = len(buf) - 1 if buf.endswith(b"\r") else len(buf)
    if ILLEGAL_IN_HEAD.search(buf, max(0, scanned - 1), min(stop, start + limit)):
        raise BadMessage(Fault.GRAMMAR, "a control octet, bare CR or bare LF in the header")
    if len(buf) - start > limit:
        raise BadMessage(Fault.HEAD_SIZE, f"header over {limit} bytes")
    return -1


def _split(buf: bytes | bytearray, start: int, end: int) -> tuple[bytes, bytes]:
    """The first line without, and the field lines with, their CRLF."""
    first = buf.find(b"\r\n", start)
    return bytes(buf[start:first]), bytes(buf[first + 2 : end - 2])


def _single_host(values: list[bytes], http11: bool) -> bytes:
    if len(values) > 1:
        raise BadMessage(Fault.AMBIGUOUS, "Host more than once")
    if (values and not values[0]) or (http11 and not values):
        raise BadMessage(Fault.GRAMMAR, "Host is missing or empty")
    return values[0] if values else b""


def _destination(line: RequestTarget, host: bytes, default_port: int) -> Target | None:
    """RFC 9112 section 3.2.2 lets the target override Host; as not every reader knows that, the two must agree."""
    if line.form is TargetForm.ABSOLUTE:
        port = DEFAULT_PORTS[line.scheme]
        target = parse_host(line.authority, port, "the request target")
    elif line.form is TargetForm.AUTHORITY:
        target = parse_host(line.authority, None, "the request target")
        # Clients of CONNECT write Host with the default port, or leave it out.
        port = target.port
    else:
        return parse_host(host, default_port, "Host") if host else None
    if host:
        check_same_host(target, host, port)
    return target


def _persistent(parsed: SortedFields, http11: bool) -> bool:
    options = parsed.options | tokens(parsed.values(b"proxy-connection"))
    if b"close" in options:
        return False
    return http11 or b"keep-alive" in options


def _is_upgrade(parsed: SortedFields) -> bool:
    return b"upgrade" in parsed.options and parsed.only(b"upgrade") == b"websocket"


def _is_websocket(parsed: SortedFields) -> bool:
    """RFC 6455 section 4.1; any other handshake is forwarded as the plain request that it also is."""
    if not _is_upgrade(parsed):
        return False
    names = {name.lower(): value for name, value in parsed.kept if name[:4].lower() == b"sec-"}
    return names.get(b"sec-websocket-version") == b"13" and bool(names.get(b"sec-websocket-key"))


def _request_fields(parsed: SortedFields, websocket: bool, framing: Framing, http11: bool) -> tuple[Field, ...]:
    kept = parsed.kept
    expect = parsed.values(b"expect")
    if expect:
        if len(expect) > 1 or expect[0].lower() != b"100-continue":
            raise BadMessage(Fault.GRAMMAR, "an expectation other than 100-continue")
        # RFC 9110 section 10.1.1: not for HTTP/1.0, and there is nothing to continue without a body.
        if not http11 or framing[0] is BodyKind.NONE:
            kept = [item for item in kept if item[0].lower() != b"expect"]
    if websocket:
        return (*kept, (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    if b"trailers" in tokens(parsed.values(b"te")):
        return (*kept, (b"TE", b"trailers"))
    return tuple(kept)


def _response_fields(parsed: SortedFields, websocket: bool, status: int) -> tuple[Field, ...]:
    if websocket:
        return (*parsed.kept, (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    lengths = parsed.values(b"content-length")
    if lengths and (len(lengths) > 1 or status < 200 or status == 204):
        kept = [item for item in parsed.kept if item[0].lower() != b"content-length"]
        return tuple(kept) if status < 200 or status == 204 else (*kept, (b"Content-Length", lengths[0]))
    return tuple(parsed.kept)
