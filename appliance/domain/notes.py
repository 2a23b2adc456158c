"""TaskNotes: the one record that travels with a task.

A task is one HTTP request, one tunnel that is relayed without decrypting, or one connection that ended before it
became either. Every step writes what it learnt here; at the end, exactly once, it becomes one audit event.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from appliance.domain.decision import Decision, TlsDecision
from appliance.domain.facts import ClientFacts, HelloFacts, UserFacts
from appliance.domain.ids import TaskId, TenantId, new_task_id
from appliance.domain.proceed import Warned
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.domain.verdict import ScanVerdict

if TYPE_CHECKING:
    from appliance.domain.upstream import UpstreamFacts


@dataclass(frozen=True, slots=True)
class CertNotes:
    """One certificate, by what an analyst looks up. ``sha256`` is the fingerprint in hex."""

    sha256: str
    subject: str
    issuer: str
    serial: str
    not_before: float
    not_after: float
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class TlsNotes:
    """One side of TLS, after its handshake."""

    version: str = ""
    cipher: str = ""
    alpn: str = ""
    sni: str = ""
    resumed: bool = False
    verify: str = ""
    """``ok``, or why verification failed, or would have."""
    causes: tuple[str, ...] = ()
    """Reason words of every fault that was found in the certificates, the first one first."""
    action: str = ""
    """What was done about them: block, warn, untrusted_ca, splice, allow, or ``proceeded`` where a person went on."""
    rule: str = ""
    """The exception or setting that said so."""
    revocation: str = ""
    """Whether the certificates have been taken back, and how that is known: ``good (ocsp)``; empty where it was not asked."""
    completed: bool = False
    """The server did not send its whole chain; the rest was fetched."""
    warned: Warned | None = None
    """What a person may accept on the page, where ``action`` is ``warn``."""
    error: str = ""
    certificate: CertNotes | None = None
    chain_sha256: tuple[str, ...] = ()
    """Fingerprints of the certificates sent, leaf first."""
    ca_sha256: str = ""
    """Towards the client: the fingerprint of the CA that signed the leaf."""
    alert_sent: str = ""
    """The alert that we ended the handshake with, where it went out unencrypted."""
    asked_certificate: bool = False
    """The server asked for a certificate of the client."""
    presented_sha256: str = ""
    """The client certificate that was presented to the server."""
    client_trusts: bool = False
    """The client that refused our certificate has accepted another of the same CA not long ago."""
    begun: float = 0.0
    """When our part of the handshake began: seconds since the epoch."""
    done: float = 0.0
    """When the handshake was over."""


@dataclass(slots=True)
class EscapeNotes:
    """The way out. ``path`` is every escaper walked, from the root to the leaf."""

    path: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    """For each router walked, the rule that chose: ``router: exact_match example.com``."""
    next_hop: str = ""
    resolved_ip: str = ""
    local_addr: str = ""
    tries: int = 0
    reused: bool = False
    error: str = ""
    ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds per phase: ``dns``, ``connect``, ``handshake`` (with a parent proxy)."""


@dataclass(slots=True)
class ConnNotes:
    """What all tasks of one client connection share."""

    client: ClientFacts
    conn_id: TaskId = field(default_factory=new_task_id)
    started: float = 0.0
    """Seconds since the epoch, when the connection was accepted."""
    protocol: str = ""
    """How the client speaks to us: http, connect, socks5, tproxy."""
    tenant: TenantId | None = None
    tenant_method: str = ""
    tenant_detail: str = ""
    user: UserFacts | None = None
    tunnel: Target | None = None
    original_dst: str = ""
    hello: HelloFacts | None = None
    tls_decision: TlsDecision | None = None
    portal: bool = False
    """The tunnel leads to the appliance's own pages; nothing in it goes anywhere else."""
    upstream: "UpstreamFacts | None" = None
    """What a look at the server showed, when the decryption rules asked for one."""
    mismatches: list[str] = field(default_factory=list)
    """Names of the connection that do not agree: ``sni: b.test, not a.test``."""
    tunnel_decision: Decision | None = None
    """The access decision on the tunnel's target, when the answer is a page inside TLS."""
    client_tls: TlsNotes | None = None
    server_tls: TlsNotes | None = None
    escape: EscapeNotes | None = None
    """The last connection made, or tried, for this client."""
    failed: "TaskNotes | None" = None
    """The task whose failure is being answered right now."""
    failed_accept: str = ""
    """What its client accepts, by its Accept field."""
    requests: int = 0
    bytes_in: int = 0
    """From the client, on the wire."""
    bytes_out: int = 0
    events: list[str] = field(default_factory=list)
    """Things worth a word, such as ``tenant_header_ignored``."""


@dataclass(slots=True)
class TaskNotes:
    """The record. Times are seconds since the epoch; ``steps`` are milliseconds by name of the step."""

    conn: ConnNotes
    task_id: TaskId = field(default_factory=new_task_id)
    kind: str = "request"
    """``request``, ``tunnel`` (relayed without decrypting), ``connection`` (ended before it was either), ``websocket``."""
    started: float = 0.0
    ended: float = 0.0
    stage: str = "accepted"
    """The last stage reached: accepted, identified, decided, connected, sent, responded, finished."""
    target: Target | None = None
    scheme: str = ""
    method: str = ""
    path: str = ""
    http_version: str = ""
    user_agent: str = ""
    referer: str = ""
    request_type: str = ""
    response_type: str = ""
    navigation: bool = False
    """A browser loads it to show it to a person (W3C Fetch Metadata)."""
    status: int = 0
    """The status sent to the client; 0 when none was."""
    upstream_status: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    decision: Decision | None = None
    reason: Reason = Reason.OK
    detail: str = ""
    escaper: str = ""
    escape: EscapeNotes | None = None
    scans: list[ScanVerdict] = field(default_factory=list)
    not_scanned: list[str] = field(default_factory=list)
    """Why a body was passed without a scan: ``response: too_large``; the words are ``NotScanned``'s."""
    scanned_bytes: dict[str, int] = field(default_factory=dict)
    """Bytes that a service judged, by ``request`` and ``response``."""
    unscanned_bytes: dict[str, int] = field(default_factory=dict)
    """Bytes that went on unjudged: ``response: too_large``."""
    packed: list[str] = field(default_factory=list)
    """Sides whose body was scanned in the gzip form in which it was transferred."""
    by_unit: set[str] = field(default_factory=set)
    """``request`` and ``response``, where the body was judged unit by unit: what is counted went on, and nothing else."""
    samples: dict[str, str] = field(default_factory=dict)
    """Under which id a body that passed is kept, or ``not kept: WORD``, by ``request`` and ``response``."""
    quarantine: str = ""
    """Under which id an infected body is kept, or ``not kept: WORD``; empty without one, or without a quarantine."""
    mismatches: list[str] = field(default_factory=list)
    """How the request's host does not agree with the connection's names."""
    websocket_frames: tuple[int, int] = (0, 0)
    steps: dict[str, float] = field(default_factory=dict)
    recorded: bool = False
    portal: bool = False
    """The request is for the appliance's own pages."""
    own_answer: bool = False
    """What the client got is a page of ours, or a service's, and not the server's answer."""

    @property
    def blocked(self) -> bool:
        return self.reason is not Reason.OK and self.status != 0

    def fail(self, reason: Reason, detail: str = "") -> None:
        """Set why the task ended; the first reason stays."""
        if self.reason is Reason.OK:
            self.reason, self.detail = reason, detail

    def step(self, name: str, seconds: float) -> None:
        self.steps[name] = round(self.steps.get(name, 0.0) + seconds * 1000, 3)
