"""What a look at a server's TLS showed, before any of the client's bytes went there."""

from dataclasses import dataclass

from appliance.domain.notes import CertNotes
from appliance.domain.reason import Reason


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """The server's side of one handshake. What was not learnt is empty, or None."""

    reason: Reason = Reason.OK
    """The verdict: ``OK`` when the tenant's trust accepts the certificate; else the cause, be it a connect that failed."""
    detail: str = ""
    certificate: CertNotes | None = None
    """The leaf; None when the handshake did not come as far."""
    key_type: str = ""
    """``rsa``, ``ec``, ``ed25519``, ``ed448``, ``dsa`` or ``unknown``."""
    key_bits: int = 0
    self_signed: bool = False
    """The leaf names itself as its issuer."""
    chain_sha256: tuple[str, ...] = ()
    """Fingerprints of what the server sent, leaf first."""
    version: str = ""
    cipher: str = ""
    """Empty for a TLS 1.2 server that asks for a certificate: its suite counts from the end of the handshake only."""
    alpn: str = ""
    asks_client_certificate: bool | None = None
    """None: the handshake ended before the server could have asked."""
    address: str = ""
    """The address that was looked at; empty behind a parent proxy."""

    @property
    def reached(self) -> bool:
        """Whether there is a certificate to judge."""
        return self.certificate is not None
