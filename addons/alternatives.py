"""Alt-Svc and Alt-Used on flows: clients stay where they are inspected (RFC 7838)."""

from mitmproxy.http import Headers, HTTPFlow

from addons.carry import drop_fields
from appliance.domain.alt_svc import keep_inspected
from appliance.domain.notes import TaskNotes

_OFFER = frozenset((b"alt-svc",))
_USE = frozenset((b"alt-used",))
EVENT = "alt_used"


def answer_offer(headers: Headers, mode: str, host: str, port: int) -> None:
    """What a client gets of a server's Alt-Svc, by the auditor's ``alt_svc``."""
    offered = headers.get_all("alt-svc") if mode != "pass" else []
    if not offered:
        return
    drop_fields(headers, _OFFER)
    left = "clear" if mode == "clear" else keep_inspected(", ".join(offered), host, port) if mode == "inspected" else ""
    if left:
        headers["alt-svc"] = left


def note_use(flow: HTTPFlow, notes: TaskNotes, mode: str) -> None:
    """A client that uses an alternative has learnt of it elsewhere. That is recorded; the server is not told, as it is the
    appliance that comes to it."""
    if mode != "pass" and "alt-used" in flow.request.headers:
        drop_fields(flow.request.headers, _USE)
        if EVENT not in notes.conn.events:
            notes.conn.events.append(EVENT)
