"""HTTP/2 field lists (RFC 9113 section 8): checked as strictly as HTTP/1 heads, because that is what they may become."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from appliance.config.server import Limits
from appliance.domain.target import Target
from appliance.engine.http.faults import BadMessage, Fault
from appliance.engine.http.framing import parse_length
from appliance.engine.http.grammar import LOWER_TOKEN, PATH, TOKEN, VALUE, Field
from appliance.engine.http.hops import PROXY_ANSWER_FIELDS, check_name, clean_trailers
from appliance.engine.http.request_target import DEFAULT_PORTS, check_method, check_same_host, parse_host

_REQUEST_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path"))
_RESPONSE_PSEUDO = frozenset((b":status",))
_FORBIDDEN = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"http2-settings"))


@dataclass(frozen=True, slots=True)
class H2Request:
    method: bytes
    scheme: bytes
    authority: bytes
    target: Target
    path: bytes
    fields: tuple[Field, ...]
    """Without Host (it equals ``authority``), and with one Cookie field at most."""
    length: int | None
    """The announced length of the body."""


@dataclass(frozen=True, slots=True)
class H2Response:
    status: int
    fields: tuple[Field, ...]
    length: int | None


def parse_h2_request(headers: Iterable[Field], limits: Limits, scheme: bytes | None, ended: bool) -> H2Request:
    """``scheme`` is the connection's, or None where a request may name its own; ``ended``: no DATA follows.

    Raises:
        BadMessage: malformed in the sense of RFC 9113 section 8.1.1, or ambiguous once written as HTTP/1.
    """
    pseudo, fields = _split(headers, _REQUEST_PSEUDO, limits.header_count)
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if TOKEN.match(method) is None or len(method) > 32 or method == b"CONNECT":
        raise BadMessage(Fault.GRAMMAR, "a method that cannot be forwarded")
    check_method(method)
    _check_path(path, method, limits)
    named = pseudo.get(b":scheme", b"")
    if named not in DEFAULT_PORTS or (scheme is not None and named != scheme):
        raise BadMessage(Fault.AMBIGUOUS, "a :scheme that is not the connection's")
    authority, target = _authority(pseudo.get(b":authority"), fields, DEFAULT_PORTS[named])
    length = _length(fields)
    if ended and length:
        raise BadMessage(Fault.AMBIGUOUS, "a content-length without a body")
    return H2Request(method, named, authority, target, path, _kept(fields), length)


def parse_h2_response(headers: Iterable[Field], limits: Limits) -> H2Response:
    """Raises BadMessage."""
    pseudo, fields = _split(headers, _RESPONSE_PSEUDO, limits.header_count)
    status = pseudo.get(b":status", b"")
    if len(status) != 3 or not status.isdigit() or status[:1] == b"0" or status == b"101":
        raise BadMessage(Fault.GRAMMAR, "a :status that is no final status")
    length = _length(fields)
    kept = tuple((name, value) for name, value in fields if name not in PROXY_ANSWER_FIELDS)
    return H2Response(int(status), kept, length)


def parse_h2_trailers(headers: Sequence[Field], limits: Limits) -> tuple[Field, ...]:
    """The trailers that may be passed on. Raises BadMessage."""
    _, fields = _split(headers, frozenset(), limits.header_count)
    if sum(len(name) + len(value) + 4 for name, value in fields) > limits.trailer_size:
        raise BadMessage(Fault.TRAILERS, f"trailer section over {limits.trailer_size} bytes")
    return clean_trailers(fields)


def writable(fields: Iterable[Field]) -> list[Field]:
    """Lower-case names, without what HTTP/2 cannot carry. A field that would not be read back as what it is, is left out."""
    lowered = [(name.lower(), value) for name, value in fields]
    return [item for item in lowered if LOWER_TOKEN.match(item[0]) and VALUE.match(item[1])]


def _split(headers: Iterable[Field], allowed: frozenset[bytes], max_count: int) -> tuple[dict[bytes, bytes], list[Field]]:
    pseudo: dict[bytes, bytes] = {}
    fields: list[Field] = []
    for name, value in headers:
        if name[:1] == b":":
            if fields or name in pseudo or name not in allowed:
                raise BadMessage(Fault.GRAMMAR, "a pseudo-header field that is unknown, repeated or out of place")
            pseudo[name] = value
        else:
            _check_field(name, value)
            fields.append((name, value))
    if len(fields) > max_count:
        raise BadMessage(Fault.FIELD_COUNT, f"more than {max_count} field lines")
    return pseudo, fields


def _check_field(name: bytes, value: bytes) -> None:
    if LOWER_TOKEN.match(name) is None:
        raise BadMessage(Fault.GRAMMAR, "a field without a valid lower-case name")
    if VALUE.match(value) is None:
        raise BadMessage(Fault.GRAMMAR, "a field value with control octets or surrounding whitespace")
    if b"_" in name:
        check_name(name)
    if name in _FORBIDDEN or (name == b"te" and value.lower() != b"trailers"):
        raise BadMessage(Fault.AMBIGUOUS, "a connection-specific field")


def _check_path(path: bytes, method: bytes, limits: Limits) -> None:
    if len(path) > limits.url_length:
        raise BadMessage(Fault.URL_LENGTH, f":path over {limits.url_length} bytes")
    if PATH.match(path) is None and not (path == b"*" and method == b"OPTIONS"):
        raise BadMessage(Fault.GRAMMAR, "a :path that does not start with a slash, or with octets that no path has")


def _authority(authority: bytes | None, fields: list[Field], default_port: int) -> tuple[bytes, Target]:
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (authority is None and not hosts):
        raise BadMessage(Fault.AMBIGUOUS, "no :authority, or Host more than once")
    chosen = authority if authority is not None else hosts[0]
    target = parse_host(chosen, default_port, ":authority")
    if authority is not None and hosts:
        check_same_host(target, hosts[0], default_port)
    return chosen, target


def _length(fields: list[Field]) -> int | None:
    lengths = [value for name, value in fields if name == b"content-length"]
    if len(lengths) > 1:
        raise BadMessage(Fault.AMBIGUOUS, "content-length more than once")
    return parse_length(lengths[0]) if lengths else None


def _kept(fields: list[Field]) -> tuple[Field, ...]:
    kept = [item for item in fields if item[0] != b"host"]
    cookies = [value for name, value in kept if name == b"cookie"]
    if len(cookies) > 1:
        kept = [item for item in kept if item[0] != b"cookie"]
        kept.append((b"cookie", b"; ".join(cookies)))
    if (expect := [value for name, value in kept if name == b"expect"]) and [v.lower() for v in expect] != [b"100-continue"]:
        raise BadMessage(Fault.GRAMMAR, "an expectation other than 100-continue")
    return tuple(kept)
