"""From error texts, mitmproxy's and OpenSSL's, to reason words."""

from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason, reason_of


def blame(message: str, notes: TaskNotes) -> tuple[Reason, str]:
    """The reason and the detail of a flow's error. Our own texts begin with the word: ``reason: detail``."""
    reason = reason_of(message) or _guess(message, notes)
    return reason, message.partition(": ")[2] if message.startswith(reason.word) else message


def _guess(message: str, notes: TaskNotes) -> Reason:
    """mitmproxy's own error texts, which carry no reason word."""
    lowered = message.lower()
    if "client disconnected" in lowered or "client closed" in lowered or "stream reset by client" in lowered:
        return Reason.CLIENT_CLOSED
    if "server closed connection" in lowered or "connection closed" in lowered:
        return Reason.UPSTREAM_CLOSED
    if "killed" in lowered:
        return Reason.CLIENT_CLOSED if notes.reason is Reason.OK else notes.reason
    return Reason.UPSTREAM_PROTOCOL if notes.stage in ("connected", "sent", "responded") else Reason.BAD_REQUEST


def client_tls_reason(error: str) -> Reason:
    """Alerts by which a client says that it does not accept our certificate (RFC 8446 section 6.2)."""
    refused = ("unknown ca", "bad certificate", "certificate unknown", "certificate expired")
    return Reason.CLIENT_REJECTED_LEAF if any(text in error for text in refused) else Reason.CLIENT_TLS_FAILED
