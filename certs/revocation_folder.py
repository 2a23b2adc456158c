"""What is published about the leaves of one CA, as files: signed by whoever has the CA's key, served by whoever has not.

<state_dir>/pki/<identity>/  ca.cer         the CA's certificate (DER)
                             ca.crl         its CRL (DER); absent when the CA may not sign one
                             responder.pem  certificate and key of its OCSP responder, mode 0600
                             revoked.json   which leaves are revoked; the command line writes it
"""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from appliance.domain.clock import Clock
from appliance.files import locked, write_whole
from certs import crl, revoked
from certs.authority import Authority
from certs.publication import CERTIFICATE, CRL, identity
from certs.responder import Delegate, delegate


@dataclass(frozen=True, slots=True)
class RevocationFolder:
    home: Path

    @classmethod
    def of(cls, root: Path, fingerprint: str) -> "RevocationFolder":
        """``root``: ``state_dir/pki``."""
        return cls(root / identity(fingerprint))

    @property
    def certificate(self) -> Path:
        return self.home / CERTIFICATE

    @property
    def crl(self) -> Path:
        return self.home / CRL

    @property
    def responder(self) -> Path:
        return self.home / "responder.pem"

    @property
    def revoked(self) -> Path:
        return self.home / "revoked.json"

    def stamp(self) -> tuple[int, ...]:
        """Another whenever a file was replaced; cheap enough to ask for at each request."""
        return tuple(map(_stamp, (self.certificate, self.crl, self.responder, self.revoked)))


def refresh(root: Path, authority: Authority, clock: Clock) -> bool:
    """Sign what is missing, or older than it should be, or lacks a leaf that was revoked since. True when anything was.

    Safe when several processes do it at once. Raises OSError, and RevokedError when the list cannot be read.
    """
    folder = RevocationFolder.of(root, authority.fingerprint)
    folder.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(folder.home / ".lock"):
        done = [_certificate(folder, authority), _responder(folder, authority, clock), _crl(folder, authority, clock)]
    return any(done)


def _certificate(folder: RevocationFolder, authority: Authority) -> bool:
    if folder.certificate.exists():
        return False
    write_whole(folder.certificate, authority.certificate.public_bytes(Encoding.DER))
    return True


def _responder(folder: RevocationFolder, authority: Authority, clock: Clock) -> bool:
    try:
        if not Delegate.from_pem(folder.responder.read_bytes()).due(authority.certificate, clock):
            return False
    except (FileNotFoundError, ValueError):
        pass  # there is none, or none that can be used: a new one is made
    write_whole(folder.responder, delegate(authority, clock).to_pem())
    return True


def _crl(folder: RevocationFolder, authority: Authority, clock: Clock) -> bool:
    if not crl.may_sign(authority):
        return False
    previous = folder.crl.read_bytes() if folder.crl.exists() else None
    if not crl.due(previous, clock) and _stamp(folder.revoked) <= _stamp(folder.crl):
        return False
    entries = revoked.read(folder.revoked).values()
    write_whole(folder.crl, crl.sign_crl(authority, sorted(entries), clock, crl.number_after(previous, clock)))
    return True


def _stamp(file: Path) -> int:
    """When the file was replaced, in nanoseconds; 0 when there is none."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
