"""How long a body is: RFC 9112 section 6.3, without the parts that two readers can understand differently."""

from enum import Enum, auto

from appliance.engine.http.faults import BadMessage, Fault
from appliance.engine.http.grammar import CONTENT_LENGTH


class BodyKind(Enum):
    NONE = auto()
    FIXED = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


type Framing = tuple[BodyKind, int]
"""The second item is the length of a FIXED body, 0 otherwise."""

NO_BODY: Framing = (BodyKind.NONE, 0)
_CHUNKED: Framing = (BodyKind.CHUNKED, 0)
_UNTIL_CLOSE: Framing = (BodyKind.UNTIL_CLOSE, 0)


def request_framing(lengths: list[bytes], codings: list[bytes], http11: bool) -> Framing:
    """Raises BadMessage for everything but one plain Content-Length, one ``chunked``, or neither."""
    if codings:
        return _chunked(lengths, codings, http11)
    if not lengths:
        return NO_BODY
    if len(lengths) > 1:
        raise BadMessage(Fault.AMBIGUOUS, "Content-Length more than once")
    return _fixed(parse_length(lengths[0]))


def response_framing(lengths: list[bytes], codings: list[bytes], http11: bool, status: int, head: bool) -> Framing:
    """The same for a response to a request whose method was HEAD or not (``head``)."""
    if status < 200 or status == 204:
        return NO_BODY
    framing = _declared(lengths, codings, http11)
    return NO_BODY if head or status == 304 else framing


def _declared(lengths: list[bytes], codings: list[bytes], http11: bool) -> Framing:
    if codings:
        return _chunked(lengths, codings, http11)
    if not lengths:
        return _UNTIL_CLOSE
    # RFC 9110 section 8.6 lets a recipient take identical repeats as one, and servers do send them.
    if any(other != lengths[0] for other in lengths):
        raise BadMessage(Fault.AMBIGUOUS, "two different Content-Lengths")
    return _fixed(parse_length(lengths[0]))


def parse_length(value: bytes) -> int:
    """One Content-Length: decimal, no sign, no list, no leading zero (which some readers take for octal), under 10**18."""
    if CONTENT_LENGTH.match(value) is None:
        raise BadMessage(Fault.AMBIGUOUS, "Content-Length is not a plain number")
    return int(value)


def _fixed(length: int) -> Framing:
    return (BodyKind.FIXED, length) if length else NO_BODY


def _chunked(lengths: list[bytes], codings: list[bytes], http11: bool) -> Framing:
    if lengths:
        raise BadMessage(Fault.AMBIGUOUS, "Transfer-Encoding and Content-Length")
    if not http11:
        raise BadMessage(Fault.AMBIGUOUS, "Transfer-Encoding in an HTTP/1.0 message")
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        raise BadMessage(Fault.AMBIGUOUS, "Transfer-Encoding other than one chunked")
    return _CHUNKED
