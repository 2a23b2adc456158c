"""What clients hear who ask about forged leaves: HTTP requests below ``/pki/``, answered from files.

Pure of HTTP machinery, for it is mounted twice: on the admin listener, and on the name that the proxy itself answers.
Everything here is public; nothing that a client sends is written anywhere.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509

from appliance.domain.clock import Clock
from certs import revoked
from certs.crl import BACKDATE
from certs.publication import CERTIFICATE, CRL, FOLDER, IDENTITY_LENGTH, OCSP
from certs.responder import MAX_REQUEST, REUSED, Delegate, OcspAnswer, Responder
from certs.revocation_folder import RevocationFolder

_PATH = re.compile(rf"{FOLDER}([0-9a-f]{{{IDENTITY_LENGTH}}})/({re.escape(CRL)}|{re.escape(CERTIFICATE)}|{OCSP})(?:/(.*))?\Z")
MAX_AGE = 3600
"""Seconds that a CRL or a certificate may be kept by caches on the way."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Cache-Control", "no-store"),)


@dataclass(slots=True)
class _Loaded:
    stamp: tuple[int, ...]
    responder: Responder | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    signed: float = 0.0
    """When the CRL was, and until when it holds: seconds since the epoch."""
    holds: float = 0.0


class RevocationAnswers:
    """``root``: ``state_dir/pki``. Files are read again when they were replaced."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._loaded: dict[str, _Loaded] = {}

    def answer(self, method: str, path: str, body: bytes = b"") -> HttpAnswer:
        """``path`` as it stands in the request, without a query. Never raises for anything that a client sent.

        Raises:
            OSError, RevokedError: our own files cannot be read; the caller's 500 says so.
        """
        match = _PATH.match(path)
        ca = self._ca(match[1]) if match else None
        if match is None or ca is None:
            return HttpAnswer(404)
        what, rest = match[2], match[3]
        if what == OCSP:
            return self._ocsp(ca, method, rest, body)
        if rest is not None or what not in ca.files:
            return HttpAnswer(404)
        if method not in ("GET", "HEAD"):
            return HttpAnswer(405, headers=(("Allow", "GET, HEAD"),))
        return _certificate(ca) if what == CERTIFICATE else _crl(ca, self._clock.now())

    def _ocsp(self, ca: _Loaded, method: str, rest: str | None, body: bytes) -> HttpAnswer:
        """RFC 6960 appendix A: by POST, or by GET with the request in the path."""
        if ca.responder is None:
            return HttpAnswer(503, headers=(("Retry-After", "60"),))
        if method == "POST" and rest is None:
            # a shared cache may not keep the answer to a POST
            return _ocsp_answer(ca.responder.answer(body), None)
        if method in ("GET", "HEAD") and rest is not None:
            return _ocsp_answer(ca.responder.answer(_from_path(rest)), self._clock.now())
        return HttpAnswer(405, headers=(("Allow", "GET, HEAD" if rest is not None else "POST"),))

    def _ca(self, identity: str) -> _Loaded | None:
        folder = RevocationFolder(self._root / identity)
        stamp = folder.stamp()
        known = self._loaded.get(identity)
        if known is not None and known.stamp == stamp:
            return known
        self._loaded.pop(identity, None)
        if not any(stamp):
            return None
        loaded = self._loaded[identity] = self._load(folder, stamp)
        return loaded

    def _load(self, folder: RevocationFolder, stamp: tuple[int, ...]) -> _Loaded:
        files = {file.name: file.read_bytes() for file in (folder.certificate, folder.crl) if file.exists()}
        loaded = _Loaded(stamp, files=files)
        if CRL in files:
            loaded.signed, loaded.holds = _times(files[CRL])
        if folder.responder.exists() and CERTIFICATE in files:
            issuer = x509.load_der_x509_certificate(files[CERTIFICATE])
            delegate = Delegate.from_pem(folder.responder.read_bytes())
            loaded.responder = Responder(issuer, delegate, revoked.read(folder.revoked), self._clock)
        return loaded


def _from_path(text: str) -> bytes:
    """Base64 of a request, percent-encoded or not; empty (so: malformed) when it is none."""
    if len(text) > 2 * MAX_REQUEST:
        return b""
    try:
        return base64.b64decode(unquote(text), validate=True)
    except (ValueError, binascii.Error):
        return b""


def _ocsp_answer(answer: OcspAnswer, now: float | None) -> HttpAnswer:
    kind = ("Content-Type", "application/ocsp-response")
    if now is None or not answer.reusable:
        return HttpAnswer(200, answer.body, (kind, ("Cache-Control", "no-store")))
    return HttpAnswer(200, answer.body, (kind, *_kept(answer.expires - REUSED, now, answer.expires)))


def _certificate(ca: _Loaded) -> HttpAnswer:
    kept = ("Cache-Control", f"public, max-age={MAX_AGE}")
    return HttpAnswer(200, ca.files[CERTIFICATE], (("Content-Type", "application/pkix-cert"), kept))


def _crl(ca: _Loaded, now: float) -> HttpAnswer:
    kept = _kept(ca.signed, now, min(now + MAX_AGE, ca.holds))
    return HttpAnswer(200, ca.files[CRL], (("Content-Type", "application/pkix-crl"), *kept))


def _times(data: bytes) -> tuple[float, float]:
    """A list of thousands takes its time to be read: once, not for each who asks."""
    crl = x509.load_der_x509_crl(data)
    signed, end = crl.last_update_utc + BACKDATE, crl.next_update_utc
    return signed.timestamp(), (end or signed).timestamp()


def _kept(signed: float, now: float, until: float) -> tuple[tuple[str, str], ...]:
    """For caches on the way (RFC 5019 section 6.2)."""
    age = f"public, no-transform, must-revalidate, max-age={max(0, int(until - now))}"
    return (
        ("Cache-Control", age),
        ("Last-Modified", formatdate(signed, usegmt=True)),
        ("Expires", formatdate(until, usegmt=True)),
    )
