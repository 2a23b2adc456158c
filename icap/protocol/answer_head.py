"""The head of an answer as it stands on the wire, with the HTTP head that it encapsulates."""

from icap.protocol.encapsulated import build_encapsulated
from icap.protocol.errors import LocalProtocolError
from icap.protocol.events import REASONS, Response


def write_answer(response: Response, method: str | None, *, close: bool) -> bytes:
    """``method``: of the request that is answered, if its head was read. ``close``: the connection ends with this exchange.

    Raises:
        LocalProtocolError: there is no such answer.
    """
    headers = response.headers
    if "Encapsulated" in headers:
        raise LocalProtocolError("Encapsulated is written by the core")
    if close and "close" not in headers.tokens("Connection"):
        headers = headers.plus(("Connection", "close"))
    encapsulated = build_encapsulated(response.request_head, response.response_head, _body_name(response, method))
    reason = response.reason or REASONS.get(response.status, "Unknown")
    head = f"ICAP/1.0 {response.status} {reason}\r\n{headers.serialise()}Encapsulated: {encapsulated}\r\n\r\n"
    return b"".join((head.encode("latin-1"), response.request_head or b"", response.response_head or b""))


def _body_name(response: Response, method: str | None) -> str:
    if response.request_head is not None and response.response_head is not None:
        raise LocalProtocolError("two heads in one answer")
    if not response.body:
        return "null-body"
    if method == "OPTIONS":
        return "opt-body"
    if response.request_head is None and response.response_head is None:
        raise LocalProtocolError("a body without a head")
    return "req-body" if response.request_head is not None else "res-body"
