"""What is learned from how clients and servers take our interception: observations, and the evidence that they add up to."""

from dataclasses import dataclass, field

from appliance.domain.act import Actor
from appliance.domain.errors import ArcusError
from appliance.domain.exclusion import Kind, State


@dataclass(frozen=True, slots=True)
class Key:
    """Whose experience, and with what: one program (its JA4; empty for any, where it is the server that asks) and one host."""

    tenant: str
    host: str
    fingerprint: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Refusal:
    """One connection that failed because of the interception. ``client``: see ``client_of``. ``cause``: an alert, or a word."""

    conn_id: str
    key: Key
    client: str
    cause: str
    at: float


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A client has asked for something inside an intercepted connection."""

    tenant: str
    client: str
    fingerprint: str
    host: str
    user_agent: str
    at: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything known about one key, within the period that counts. Clients that never accepted our CA elsewhere stand
    apart: they may just lack it, or want to look as if."""

    failures: int = 0
    """Handshakes of ``clients``."""
    clients: tuple[str, ...] = ()
    """Clients that were refused and that trust our CA elsewhere."""
    strangers: int = 0
    """Clients that were refused and are not known to trust our CA."""
    first: float = 0.0
    last: float = 0.0
    causes: dict[str, int] = field(default_factory=dict)
    """How often each alert, or closing without one, was seen."""
    user_agents: tuple[str, ...] = ()
    """What the same clients called themselves elsewhere, with the same fingerprint."""
    accepted_here: int = 0
    """Clients with the same fingerprint that accepted our certificate for this host."""
    others_here: int = 0
    """Clients with another fingerprint that did."""
    program_hosts: int = 0
    """Hosts at which the same fingerprint accepted our certificate, for any client."""


@dataclass(frozen=True, slots=True)
class Record:
    """One exclusion, proposed or decided, with the evidence that it was made from."""

    id: str
    key: Key
    state: State
    reason: str
    retest: int
    created_at: float
    decided_at: float
    decided_by: str
    until: float
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an exclusion's history."""

    exclusion_id: str
    at: float
    actor: Actor
    action: str
    note: str
    event_id: str
    """Under which the audit stream knows it."""
    until: float = 0.0
    """When the exclusion ends, as of this step."""


class ExclusionError(ArcusError):
    """It cannot be done; ``hint`` says what can."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
