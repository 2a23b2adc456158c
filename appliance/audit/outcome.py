"""One word for what an event is, and one for what the appliance did.

``event_type``: ``error`` and ``block`` say how a task failed to pass; a task that passed is a ``connection`` (it
ended before it asked for anything), an ``allow`` (relayed without being read), a ``request`` (no response reached
the client) or a ``response``.

``action``: ``allow``, ``block``, ``redirect``, ``require_auth``, or ``fail``: it was allowed, and then could not be done.
"""

from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason, Source

ORDINARY_ENDS = frozenset(
    {Reason.OK, Reason.CLIENT_CLOSED, Reason.CLIENT_SILENT, Reason.DOWNLOAD_ABANDONED, Reason.IDLE_TIMEOUT}
)
"""How connections end every day: no error."""

_BLOCKED = frozenset({Reason.MALWARE_FOUND, Reason.ICAP_BLOCKED, Reason.TOO_MANY_CONNECTIONS})
_UNREACHED = frozenset(
    {
        Reason.DNS_FAILED,
        Reason.CONNECT_REFUSED,
        Reason.CONNECT_TIMEOUT,
        Reason.CONNECT_FAILED,
        Reason.UPSTREAM_CLOSED,
        Reason.UPSTREAM_TIMEOUT,
        Reason.UPSTREAM_PROTOCOL,
        Reason.UPSTREAM_AUTH_FAILED,
        Reason.UPSTREAM_PROXY_REFUSED,
        Reason.UPSTREAM_TLS_FAILED,
        Reason.UPSTREAM_CLIENT_CERT,
        Reason.CLIENT_TLS_FAILED,
        Reason.CLIENT_REJECTED_LEAF,
        Reason.HEADER_TIMEOUT,
        Reason.BODY_TIMEOUT,
        Reason.HANDSHAKE_TIMEOUT,
        Reason.SHUTTING_DOWN,
    }
)
"""Nobody refused: the other side, or the network, did not do its part."""


def event_type_of(notes: TaskNotes) -> str:
    reason = notes.reason
    if reason in ORDINARY_ENDS:
        return _passed(notes)
    return "block" if reason.source is Source.POLICY or reason in _BLOCKED else "error"


def _passed(notes: TaskNotes) -> str:
    if notes.kind == "connection":
        return "connection"
    if notes.kind == "tunnel":
        return "allow"
    return "response" if notes.status else "request"


def action_of(notes: TaskNotes) -> str:
    reason = notes.reason
    if reason in ORDINARY_ENDS:
        return "allow"
    if reason in _UNREACHED:
        return "fail"
    if reason in (Reason.AUTH_REQUIRED, Reason.AUTH_FAILED):
        return "require_auth"
    return "redirect" if reason is Reason.POLICY_REDIRECTED else "block"
