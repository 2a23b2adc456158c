"""What is known about the verification of one connection to a server, while its handshake runs and after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from OpenSSL import SSL, crypto

from appliance.domain.reason import Reason
from certs import rules
from certs.floor import TlsFloor
from certs.verdict import Verdict

type Tolerates = Callable[[Verdict, x509.Certificate | None], bool]
"""Whether a fault may pass; asked with the server's own certificate, as far as it can be read."""


def tolerates_nothing(_fault: Verdict, _leaf: x509.Certificate | None) -> bool:
    return False


@dataclass(slots=True)
class Verification:
    """The connection's application data. ``host`` is the name that is verified, ``floor`` what its keys have to reach."""

    host: str
    floor: TlsFloor
    tolerates: Tolerates = tolerates_nothing
    unaided: bool = False
    """Verified outside of a handshake, where the library does not apply its security level."""
    verdict: Verdict | None = None
    """The first refusal; it stays."""
    faults: list[Verdict] = field(default_factory=list)
    """Every fault found, whether it was tolerated or not."""
    gap: Verdict | None = None
    """An issuer that the server did not send but that can be fetched: the chain is judged when it is complete."""
    staple: bytes = b""
    """The OCSP response that the server sent, unchecked."""
    built: tuple[x509.Certificate, ...] = ()
    """The chain up to its anchor when it is not the one that the library took: it was judged in full."""
    top: int | None = None
    """Depth of the trust anchor; 0 when the leaf itself is trusted."""
    public: bool = False
    """That anchor is one of the public web's."""
    chain: list[x509.Certificate] = field(default_factory=list)
    """What OpenSSL has accepted so far, leaf first."""
    misencoded: str = ""
    """What is wrong with how the leaf was written on the wire."""
    asked: bool = False
    """The server wants a certificate of the client."""
    identity: str = ""
    """The certificate that is there for it: its fingerprint."""
    refuses_asking: bool = False
    """A server that asks, and for which there is none, is not talked to."""

    presented: str = ""
    """The fingerprint of the certificate that the server got."""

    def answers(self) -> bool:
        """The server asks for a certificate: whether the handshake goes on. One of ours is for a server in which there is no
        fault, tolerated ones included."""
        self.asked = True
        if not self.identity:
            return not self.refuses_asking
        if self.faults or self.gap is not None or self.verdict is not None:
            return False
        self.presented = self.identity
        return True

    def accepts(self, fault: Verdict, connection: SSL.Connection) -> bool:
        """Note the fault; the value for OpenSSL's callback."""
        self.faults.append(fault)
        return self.gap is not None or self._tolerated(fault, connection)

    def let_go(self) -> None:
        """Everything was asked: whoever was asked for tolerance is not held any longer, nor ever asked again."""
        self.tolerates = tolerates_nothing

    def refuse(self, fault: Verdict) -> Verdict:
        """The connection must not be used, whatever was tolerated; what was found after its handshake."""
        self.gap = None
        self.verdict = self.verdict or fault
        return self.verdict

    def filled(self) -> None:
        """The chain was completed, and is as it should be: what was found in the part of it that was sent is void."""
        self.gap = None
        self.faults.clear()

    def settle(self, connection: SSL.Connection) -> Verdict:
        """Judge what was put off because the chain had a gap, which nothing has filled."""
        gap, self.gap = self.gap, None
        for fault in ([gap] if gap else []) + self.faults:
            if not self._tolerated(fault, connection):
                break
        if gap is not None and gap.reason not in {fault.reason for fault in self.faults}:
            self.faults.insert(0, gap)
        return self.verdict or Verdict(Reason.OK)

    def _tolerated(self, fault: Verdict, connection: SSL.Connection) -> bool:
        if fault.reason is not Reason.UPSTREAM_CERT_OWN_CA and self.tolerates(fault, sent_leaf(connection)):
            return True
        self.verdict = self.verdict or fault
        return False


def sent_chain(connection: SSL.Connection) -> list[x509.Certificate]:
    """What the server sent that can be read, leaf first; also while the chain is being verified, and after a refusal.

    Empty when its first certificate cannot be read.
    """
    return readable(connection.get_peer_cert_chain() or [])


def readable(chain: Sequence[crypto.X509]) -> list[x509.Certificate]:
    """The certificates that can be read; none when the first one cannot."""
    found = [rules.parse(each, 1)[0] for each in chain]
    return [each for each in found if each is not None] if found and found[0] is not None else []


def sent_leaf(connection: SSL.Connection) -> x509.Certificate | None:
    """The server's own certificate."""
    raw = connection.get_peer_cert_chain() or []
    return rules.parse(raw[0], 1)[0] if raw else None
