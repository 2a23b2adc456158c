"""Why a handshake with a server failed before, or besides, the verification of its certificate."""

from typing import Final

from OpenSSL import SSL

from appliance.domain.reason import Reason
from certs.verdict import Verdict

MAX_DETAIL: Final = 512

_MALFORMED: Final = (
    "asn1 encoding routines",
    "x509 certificate routines",
    "bad certificate",
    "certificate length",
    "cert length mismatch",
    "length mismatch",  # of the list of certificates, or of another message of the server's
    "no certificate",
)
_VERSION: Final = (
    "unsupported protocol",
    "protocol version",  # an alert
    "inappropriate fallback",
    "wrong ssl version",
    "version too low",
    "agree on a tls version",  # mitmproxy's text for an unsupported protocol
)
_KEY: Final = (
    "dh key too small",
    "bad dh value",
    "bad ecpoint",
    "wrong curve",
    "ee key too small",
    "unable to find ecdh parameters",
    "no suitable key share",
    "bad key share",
    "modulus too small",
    "modulus too large",
)
_SIGNATURE: Final = (
    "wrong signature type",
    "legacy sigalg",
    "bad signature",
    "no suitable signature algorithm",
    "unknown digest",
    "signature algorithms error",
)
_CIPHER: Final = (
    "handshake failure",  # an alert: nothing in common, nearly always the suites
    "insufficient security",  # an alert
    "wrong cipher returned",
    "unknown cipher returned",
    "no ciphers available",
    "no shared cipher",
    "unsafe legacy renegotiation disabled",
)
_WORDS: Final = (
    (Reason.UPSTREAM_CERT_MALFORMED, _MALFORMED),
    (Reason.UPSTREAM_TLS_VERSION, _VERSION),
    (Reason.UPSTREAM_TLS_KEY, _KEY),
    (Reason.UPSTREAM_TLS_SIGNATURE, _SIGNATURE),
    (Reason.UPSTREAM_TLS_CIPHER, _CIPHER),
)
"""OpenSSL's texts, which are the only thing that pyOpenSSL passes on; asked in this order."""


def handshake_verdict(error: object) -> Verdict:
    """The verdict on a handshake that ended with ``error``: pyOpenSSL's exception, or the text somebody made of it."""
    detail = error if isinstance(error, str) else "; ".join(" ".join(map(str, each)) for each in _errors(error))
    return Verdict(_reason(detail.lower()), (detail or "the handshake did not finish")[:MAX_DETAIL])


def _reason(detail: str) -> Reason:
    for reason, words in _WORDS:
        if any(word in detail for word in words):
            return reason
    return Reason.UPSTREAM_TLS_FAILED


def _errors(error: object) -> list[tuple[str, ...]]:
    """pyOpenSSL's error queue: (library, function, reason) each."""
    queue = error.args[0] if isinstance(error, SSL.Error) and error.args else []
    if not isinstance(queue, list):
        return []
    return [tuple(part for part in each if part) for each in queue if isinstance(each, tuple)]
