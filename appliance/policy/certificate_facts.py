"""What a page says about a server's certificate that was refused: only what its reader needs to report or to compare it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from appliance.domain.notes import CertNotes, TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.text import printable

MAX_NAME: Final = 200
_TLS: Final = ("upstream_cert_", "upstream_tls_")


def refused_certificate(reason: Reason, notes: TaskNotes) -> CertNotes | None:
    """The certificate that ``reason`` is about, if it is about one."""
    server = notes.conn.server_tls
    return server.certificate if server is not None and reason.word.startswith(_TLS) else None


def certificate_rows(certificate: CertNotes | None) -> Iterator[tuple[str, str]]:
    """Names and values. Everything in a certificate is the server's to write."""
    if certificate is None:
        return
    yield "Certificate of", printable(certificate.subject, MAX_NAME)
    yield "Issued by", printable(certificate.issuer, MAX_NAME)
    yield "Valid", f"{_day(certificate.not_before)} to {_day(certificate.not_after)}"
    yield "Fingerprint (SHA-256)", certificate.sha256


def _day(moment: float) -> str:
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return "unknown"
