"""Why TLS failed, as one word of ten: what an analyst filters by, and what metrics count.

The category follows from who failed, the reason word, and the text that the TLS library gives: pure functions of the notes.
"""

import re
from dataclasses import dataclass
from typing import Final

from appliance.domain.notes import ConnNotes, TaskNotes, TlsNotes
from appliance.domain.reason import Reason
from appliance.domain.words import Word

QUICK: Final = 2.0
"""Seconds after its handshake within which a client that leaves without a word has most likely refused our certificate."""


class TlsFailure(Word):
    """The value is the word in records and metrics."""

    CERTIFICATE = "certificate", "The server's certificate did not pass verification, or could not be read."
    CIPHER = "cipher", "No cipher suite, group, signature algorithm or key size that both sides take."
    VERSION = "version", "No TLS version that both sides take."
    PROTOCOL = "protocol", "What came is not TLS, or breaks its rules, or ended too early."
    FEATURE = (
        "feature",
        "An extension or a feature that one side demands, such as ALPN, SNI or renegotiation, and the other has not.",
    )
    RESUME = "resume", "An earlier session could not be resumed."
    RESOURCE = "resource", "A limit of time or size, or an internal error of either side."
    CLIENT_REJECT = "client_reject", "The client refused our certificate: most likely the CA is not installed."
    PINNED = (
        "pinned",
        (
            "The client refused our certificate although it trusts the CA elsewhere, or left without a word once it had seen "
            "it: most likely it expects one certificate only."
        ),
    )
    MTLS = "mtls", "The server asks for a certificate of the client, and none that it takes was presented."


@dataclass(frozen=True, slots=True)
class TlsFailed:
    """``side``: ``client`` or ``server``, whose handshake it was."""

    category: TlsFailure
    side: str


ALERTS: Final = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
    42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
    46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error",
    51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
    86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
    110: "unsupported_extension", 112: "unrecognized_name", 113: "bad_certificate_status_response",
    115: "unknown_psk_identity", 116: "certificate_required", 120: "no_application_protocol", 121: "ech_required",
}  # fmt: skip
"""Alert descriptions (RFC 8446 section 6, and IANA's registry)."""

REFUSALS: Final = frozenset(
    {
        "bad_certificate", "unsupported_certificate", "certificate_revoked", "certificate_expired", "certificate_unknown",
        "unknown_ca", "bad_certificate_status_response",
    }
)  # fmt: skip
"""Alerts by which a client says that it does not accept our certificate (RFC 8446 section 6.2)."""

_MTLS_ALERTS: Final = REFUSALS | {"certificate_required", "handshake_failure", "access_denied"}
NAMELESS: Final = "tlsv13 alert ech required"
"""Of the alerts that clients send, this is the one that OpenSSL 4.0 has no text for, and the number does not get here."""
_LIBRARY: Final = re.compile(r"\('[^']*', '[^']*', '([^']*)'\)")
_ALERT: Final = re.compile(r"(?:\balert|tlsv1|tlsv13|sslv3)(?: alert)? ([a-z ]+)")
_VERSIONS: Final = "cannot agree on a TLS version"
_WORDS: Final[tuple[tuple[TlsFailure, tuple[str, ...]], ...]] = (
    (
        TlsFailure.VERSION,
        ("protocol version", "unsupported protocol", "version too low", "no protocols available", "inappropriate fallback",
         "wrong ssl version", "version too high"),
    ),
    (TlsFailure.RESUME, ("binder", "psk", "ticket", "session id", "bad session", "old session")),
    (
        TlsFailure.CIPHER,
        ("no shared cipher", "handshake failure", "insufficient security", "suitable signature", "shared signature",
         "suitable key share", "suitable groups", "key too small", "no cipher", "wrong cipher", "unknown cipher", "wrong curve",
         "wrong signature type", "bad dh", "ciphers available", "elliptic curve"),
    ),
    (
        TlsFailure.FEATURE,
        ("no application protocol", "missing extension", "unsupported extension", "unsolicited extension", "unrecognized name",
         "renegotiation", "ech required", "extended master secret", "compression"),
    ),
    (TlsFailure.RESOURCE, ("internal error", "excessive message", "too large", "too many", "malloc", "timeout", "not finish")),
)  # fmt: skip
_TIMEOUTS: Final = frozenset({Reason.HANDSHAKE_TIMEOUT, Reason.RESOURCE_EXHAUSTED, Reason.INTERNAL_ERROR})


def plain_error(text: str) -> str:
    """The TLS library's error without the shape that the binding gives it."""
    found = _LIBRARY.findall(text)
    if found:
        return "; ".join(dict.fromkeys(found)) or NAMELESS
    return "tlsv1 alert protocol version" if _VERSIONS in text else text


def alert_in(error: str) -> str:
    """The name of the alert that was received, when the error says so; else empty."""
    found = _ALERT.search(error)
    name = found[1].strip().replace(" ", "_") if found else ""
    return name if name in _NAMES else ""


_NAMES: Final = frozenset(ALERTS.values())


def failure_of(notes: TaskNotes) -> TlsFailed | None:
    """What failed, for a task that a failure of TLS ended; None where TLS did its part."""
    conn = notes.conn
    if conn.client_tls is None and conn.server_tls is None and conn.hello is None:
        return _unread(notes.reason)
    client, server = _client(notes, conn), _server(notes, conn)
    first, second = (server, client) if notes.reason.word.startswith("upstream") else (client, server)
    return first or second


def _unread(reason: Reason) -> TlsFailed | None:
    return TlsFailed(TlsFailure.PROTOCOL, "client") if reason is Reason.BAD_CLIENT_HELLO else None


def _server(notes: TaskNotes, conn: ConnNotes) -> TlsFailed | None:
    tls = conn.server_tls
    if tls is None or not tls.error:
        return None
    return TlsFailed(server_category(tls), "server")


def server_category(tls: TlsNotes) -> TlsFailure:
    """For a handshake with a server that has failed, during it or by an alert that came right after."""
    if tls.error.startswith("upstream_cert_"):
        return TlsFailure.CERTIFICATE
    if tls.error.startswith(("upstream_tls_key", "upstream_tls_signature")):
        return TlsFailure.CIPHER
    alert = alert_in(tls.error)
    if tls.asked_certificate and "callback failed" in tls.error:
        return TlsFailure.MTLS  # we ended it: it asked, and gets nothing
    # without a question, which comes from a server whose certificate was judged, anybody on the way could send that alert
    if tls.asked_certificate and (alert in _MTLS_ALERTS or _cut(tls.error)):
        return TlsFailure.MTLS
    return _by_words(tls.error)


def _client(notes: TaskNotes, conn: ConnNotes) -> TlsFailed | None:
    tls = conn.client_tls
    if tls is not None and tls.error:
        return TlsFailed(client_category(tls), "client")
    if notes.reason in _TIMEOUTS and notes.kind == "connection" and (tls is None or not tls.version):
        return TlsFailed(TlsFailure.RESOURCE, "client")
    if tls is not None and tls.done and notes.kind == "connection" and _left(notes, tls):
        return TlsFailed(TlsFailure.PINNED, "client")
    return None


def client_category(tls: TlsNotes) -> TlsFailure:
    """For a handshake with a client that has failed, during it or by an alert that came right after."""
    if alert_in(tls.error) in REFUSALS:
        return TlsFailure.PINNED if tls.client_trusts else TlsFailure.CLIENT_REJECT
    if tls.cipher and (_cut(tls.error) or alert_in(tls.error) == "user_canceled"):
        return TlsFailure.PINNED  # it saw our certificate, and left without a word
    return _by_words(tls.error)


def _left(notes: TaskNotes, tls: TlsNotes) -> bool:
    """The client ended a handshake, said nothing, and was gone: many programs compare a pin only then."""
    alone = notes.reason is Reason.CLIENT_CLOSED and notes.conn.requests <= 1
    return alone and 0 <= notes.ended - tls.done < QUICK


def _cut(error: str) -> bool:
    return "closed" in error or "unexpected eof" in error.lower() or "connection reset" in error


def _by_words(error: str) -> TlsFailure:
    lowered = error.lower()
    for category, words in _WORDS:
        if any(word in lowered for word in words):
            return category
    return TlsFailure.PROTOCOL
