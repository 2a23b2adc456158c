"""Which faults of a server's certificate pass for one client: the tenant's matrix, and what the person has accepted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from cryptography import x509
from mitmproxy import connection

from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, TlsNotes
from appliance.domain.proceed import Warned
from appliance.domain.reason import Reason
from appliance.policy.upstream_certificates import ALWAYS_BLOCKED, PREFIX, CertAction, CertificateMatrix, Choice, strictest
from certs.fingerprint import certificate_sha256
from certs.verdict import Verdict

PROCEEDED = "proceeded"


class Accepted(Protocol):
    """See ``appliance.storage.grants``."""

    def holds(self, warned: Warned) -> bool: ...


@dataclass(frozen=True, slots=True)
class Matrices:
    """Every tenant's matrix, and what was accepted from warnings. ``now`` is seconds since the epoch."""

    by_tenant: Mapping[TenantId, CertificateMatrix]
    accepted: Accepted
    now: Callable[[], float]

    def tolerance(self, conn: ConnNotes, server: connection.Server, host: str) -> "Tolerance":
        return Tolerance(self, conn, host, server.address[1] if server.address else 0)


@dataclass(slots=True)
class Tolerance:
    """For one connection to a server: asked during its handshake, read after it."""

    matrices: Matrices
    conn: ConnNotes
    host: str
    port: int
    choices: dict[Reason, Choice] = field(default_factory=dict)
    proceeded: bool = False
    warned: Warned | None = None

    def __call__(self, fault: Verdict, leaf: x509.Certificate | None) -> bool:
        choice = self._choice(fault.reason)
        self.choices.setdefault(fault.reason, choice)
        match choice.action:
            case CertAction.ALLOW:
                return True
            case CertAction.UNTRUSTED_CA:
                return _can_show_it(self.conn)
            case CertAction.WARN:
                return self._accepted(fault.reason, leaf)
        return False

    def note(self, notes: TlsNotes, faults: tuple[Verdict, ...]) -> None:
        """Write down what was found and done; nothing for a certificate that is as it should be."""
        if not faults:
            return
        notes.verify = faults[0].text
        notes.causes = tuple(dict.fromkeys(fault.reason.word for fault in faults))
        known = [self.choices[fault.reason] for fault in faults if fault.reason in self.choices]
        if known:
            choice = strictest(known)
            notes.rule = choice.rule
            notes.action = PROCEEDED if choice.action is CertAction.WARN and self.proceeded else choice.action.value

    def refused(self, notes: TlsNotes, verdict: Verdict) -> None:
        """The same for a server that is refused: the fault that did it counts."""
        if not verdict.reason.word.startswith(PREFIX):
            return
        choice = self.choices.get(verdict.reason, ALWAYS_BLOCKED)  # not asked: nothing lets this one pass
        notes.causes, notes.rule = (verdict.reason.word,), choice.rule
        notes.action = CertAction.WARN.value if self.warned else CertAction.BLOCK.value
        notes.warned = self.warned

    def _choice(self, reason: Reason) -> Choice:
        matrix = self.matrices.by_tenant[self.conn.tenant or TenantId("")]
        return matrix.decide(reason, self.host, self.matrices.now())

    def _accepted(self, reason: Reason, leaf: x509.Certificate | None) -> bool:
        if leaf is None:
            return False  # what cannot be read cannot be accepted
        user = self.conn.user.name if self.conn.user else ""
        tenant = self.conn.tenant or TenantId("")
        warned = Warned(tenant, self.conn.client.ip, user, self.host, self.port, reason.word, certificate_sha256(leaf))
        if self.matrices.accepted.holds(warned):
            self.proceeded = True
            return True
        self.warned = self.warned or warned
        return False


def _can_show_it(conn: ConnNotes) -> bool:
    """Whether the client can still be shown a leaf that it does not trust: it speaks TLS, and has no other leaf yet."""
    shown = conn.client_tls
    return conn.hello is not None and (shown is None or shown.action == CertAction.UNTRUSTED_CA.value)
