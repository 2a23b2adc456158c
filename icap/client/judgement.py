"""From an ICAP answer to an outcome: a pure function, and the place where "clean" has to be earned."""

from dataclasses import dataclass

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome
from icap.client.body import Body, length_of, same_content
from icap.client.message import Kind, Message
from icap.client.threat import Threat, read_threat
from icap.client.transaction import Answer
from icap.protocol import HttpHead, RemoteProtocolError, end_to_end, parse_head, repair

_CAUSES = {
    reason.word: reason
    for reason in (
        Reason.SCANNER_UNREACHABLE,
        Reason.SCANNER_TIMEOUT,
        Reason.SCANNER_ERROR,
        Reason.BODY_TOO_LARGE,
        Reason.NOT_SCANNABLE,
    )
}
"""What our own server says of a failed scan, so that the record names the cause and not only the status."""
_REFUSALS = {reason.word: reason for reason in (Reason.FILE_TYPE_BLOCKED, Reason.ENCRYPTED_CONTENT, Reason.NOT_SCANNABLE)}
"""What it says of a body in which it found nothing, and which a rule of its refuses."""
_NOT_COMPARED = frozenset((b"via", b"content-length"))


@dataclass(frozen=True, slots=True)
class Judgement:
    outcome: Outcome
    reason: Reason = Reason.OK
    kind: Kind = "unmodified"
    head: bytes | None = None
    body: bytes | Body | None = None
    signature: str = ""
    detail: str = ""


def judge(message: Message, answer: Answer, *, allow_206: bool = False) -> Judgement:
    """What the answer means for the message.

    Raises:
        ScanError: an error answer (ICAP_ERROR, ICAP_OVERLOAD), or one that contradicts itself or the request
            (ICAP_PROTOCOL).
    """
    if answer.status == 204:
        return _unmodified(answer)
    if answer.status == 206 and not allow_206:
        raise ScanError(Reason.ICAP_PROTOCOL, "206 was not asked for")
    if answer.status not in (200, 206):
        raise _refusal(answer)
    try:
        return _judge_message(message, answer)
    except RemoteProtocolError as error:
        raise ScanError(Reason.ICAP_PROTOCOL, error.detail) from error


def _refusal(answer: Answer) -> ScanError:
    status = answer.status
    detail = f"ICAP status {status} {answer.reason}".strip()
    known = _CAUSES.get(answer.headers.first("X-Arcus-Error") or "")
    if known is not None and status >= 500:
        return ScanError(known, detail)
    if status == 503:
        return ScanError(Reason.ICAP_OVERLOAD, detail)
    return ScanError(Reason.ICAP_ERROR if status >= 400 else Reason.ICAP_PROTOCOL, detail)


def _unmodified(answer: Answer) -> Judgement:
    threat = read_threat(answer.headers)
    if threat is None:
        return Judgement(Outcome.CLEAN)
    # "Infected" and "unmodified" at once: the finding counts.
    return Judgement(Outcome.BLOCKED, _found(answer), signature=threat.signature)


def _found(answer: Answer) -> Reason:
    return _REFUSALS.get(answer.headers.first("X-Arcus-Reason") or "", Reason.MALWARE_FOUND)


def _judge_message(message: Message, answer: Answer) -> Judgement:
    head = _head(message, answer)
    body = _body(message, answer)
    carries_body = not (head.is_response and _is_head_request(message))
    threat = read_threat(answer.headers)
    if cut_off := _check_length(head, body, carries_body):
        return _cut_off(cut_off, threat)
    kind: Kind = "response" if head.is_response else "request"
    same = _is_same(message, head, body)
    if threat is not None and not threat.repaired:
        page = kind == "response" and not same
        return _blocked(_found(answer), threat, head if page else None, body, carries_body)
    if message.method == "REQMOD" and kind == "response":
        return _blocked(Reason.ICAP_BLOCKED, threat, head, body, carries_body)
    signature = threat.signature if threat is not None else ""
    if same:
        return Judgement(Outcome.CLEAN, signature=signature)
    repaired = bytes(repair(head, length_of(body), has_body=carries_body))
    return Judgement(Outcome.MODIFIED, Reason.OK, kind, repaired, body, signature)


def _blocked(
    reason: Reason, threat: Threat | None, head: HttpHead | None, body: bytes | Body | None, carries_body: bool
) -> Judgement:
    """A block, with the service's page when it sent one. An infected original that came back is dropped."""
    signature = threat.signature if threat is not None else ""
    if head is None:
        return Judgement(Outcome.BLOCKED, reason, signature=signature)
    page = bytes(repair(head, length_of(body), has_body=carries_body))
    return Judgement(Outcome.BLOCKED, reason, "response", page, body, signature)


def _head(message: Message, answer: Answer) -> HttpHead:
    """RFC 3507 section 4.9.2: RESPMOD answers with a response, REQMOD with a request or with a response in its place."""
    block = answer.response_head or answer.request_head
    if block is None:
        raise RemoteProtocolError(f"{answer.status} without an HTTP head")
    head = parse_head(block)
    if head.is_response is not (answer.response_head is not None):
        raise RemoteProtocolError("request and response heads are mixed up")
    if message.method == "RESPMOD" and not head.is_response:
        raise RemoteProtocolError("a request in answer to a response")
    return head


def _body(message: Message, answer: Answer) -> bytes | Body | None:
    if answer.use_original_body is None:
        return answer.body
    original, added = message.body or b"", answer.body or b""
    if isinstance(original, Body) or isinstance(added, Body):
        raise RemoteProtocolError("use-original-body was not allowed for a body that is streamed")
    if answer.status != 206 or answer.use_original_body > len(original):
        raise RemoteProtocolError(f"use-original-body={answer.use_original_body} of {len(original)} bytes")
    return added + original[answer.use_original_body :]


def _cut_off(detail: str, threat: Threat | None) -> Judgement:
    """c-icap ends an infected body that it began to deliver like this: status 200, a proper last chunk, and nothing
    else to tell it from a clean one. It is therefore a block, not an error that a policy for errors could let pass."""
    reason = Reason.ICAP_PROTOCOL if threat is None else Reason.MALWARE_FOUND
    signature = threat.signature if threat is not None else ""
    return Judgement(Outcome.BLOCKED, reason, signature=signature, detail=detail)


def _check_length(head: HttpHead, body: bytes | Body | None, carries_body: bool) -> str:
    """Empty, or how the body is shorter than its head announces. More than it announces is an error."""
    if not carries_body or head.forbids_body:
        if length_of(body):
            raise RemoteProtocolError("a body where HTTP allows none")
        return ""
    announced, received = head.content_length, length_of(body)
    detail = f"Content-Length {announced}, but {received} bytes came"
    if announced is not None and announced < received:
        raise RemoteProtocolError(detail)
    return detail if announced is not None and announced > received else ""


def _is_head_request(message: Message) -> bool:
    return bytes(message.request_head).startswith(b"HEAD ")


def _is_same(message: Message, head: HttpHead, body: bytes | Body | None) -> bool:
    """The original came back: services that may not send 204, or do not, answer so (Via and framing aside)."""
    block = message.response_head if message.method == "RESPMOD" else message.request_head
    if block is None or not same_content(body, message.body):
        return False
    original = parse_head(bytes(block))
    return original.start_line == head.start_line and _comparable(original) == _comparable(head)


def _comparable(head: HttpHead) -> list[tuple[bytes, bytes]]:
    return [(name, value) for key, value in end_to_end(head.fields) if (name := key.lower()) not in _NOT_COMPARED]
