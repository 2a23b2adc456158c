"""From error texts, mitmproxy's and OpenSSL's, to reason words."""

from appliance.domain.notes import TaskNotes, TlsNotes
from appliance.domain.reason import Reason, reason_of
from appliance.domain.tls_failure import REFUSALS, TlsFailure, alert_in, server_category


def blame(message: str, notes: TaskNotes) -> tuple[Reason, str]:
    """The reason and the detail of a flow's error. Our own texts begin with the word: ``reason: detail``."""
    reason = reason_of(message) or _guess(message, notes)
    server = notes.conn.server_tls
    if reason is Reason.UPSTREAM_CLOSED and server is not None and _wants_certificate(server):
        return Reason.UPSTREAM_CLIENT_CERT, server.error
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
    """Whether a client says that it does not accept our certificate."""
    return Reason.CLIENT_REJECTED_LEAF if alert_in(error) in REFUSALS else Reason.CLIENT_TLS_FAILED


def _wants_certificate(server: TlsNotes) -> bool:
    """With TLS 1.3 a server says so when our side of the handshake is over (RFC 8446 section 4.4.2.4)."""
    return bool(server.error) and server_category(server) is TlsFailure.MTLS
