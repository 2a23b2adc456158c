"""Messages for tests."""

from appliance.domain.verdict import Outcome
from icap.client import Adapted, Identity, Message

REQUEST = b"GET http://h.test/a/b.exe?x=1 HTTP/1.1\r\nHost: h.test\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\n"


def download(body: bytes | None = b"hello", identity: Identity | None = None, request: bytes = REQUEST) -> Message:
    return Message("RESPMOD", request, RESPONSE, body, identity or Identity(), "01task")


def upload(body: bytes | None = b"hello", identity: Identity | None = None) -> Message:
    head = b"POST http://h.test/up HTTP/1.1\r\nHost: h.test\r\nContent-Length: %d\r\n\r\n" % len(body or b"")
    return Message("REQMOD", head, None, body, identity or Identity(), "01task")


def told(adapted: Adapted) -> tuple[Outcome, str]:
    """Outcome and reason word."""
    return adapted.verdict.outcome, adapted.verdict.reason.word
