"""The client's less used settings."""

from dataclasses import dataclass, field

from icap.protocol import Limits


@dataclass(frozen=True, slots=True)
class Tuning:
    """Times in seconds."""

    options_timeout: float = 5.0
    stall_timeout: float = 10.0
    """Without progress while our bytes are being written, or between two bytes of an answer."""
    first_byte_timeout: float = 30.0
    """From our last byte to the first of an answer."""
    queue_timeout: float = 30.0
    """Waiting for a connection."""
    idle_timeout: float = 50.0
    """Age at which an idle connection is closed; to be less than the server's own."""
    max_waiting: int = 1024
    """Messages waiting for a connection; above it they fail at once. 0: none waits."""
    workers: int = 1
    """Processes that share what the service allows (Max-Connections)."""
    retry: bool = True
    """Try again on a new connection when a kept one was closed."""
    failure_limit: int = 10
    """Failures within ``failure_window`` that suspend the service."""
    failure_window: float = 30.0
    revival_delay: float = 10.0
    """Time after which a suspended service is asked for its options again."""
    default_options_ttl: int = 3600
    """For a service that states no Options-TTL."""
    send_identity: bool = True
    previews: bool = True
    allow_206: bool = False
    honour_transfer_ignore: bool = False
    """Off: what is not scanned must not be chosen by the extension in a URL, which the attacker writes."""
    limits: Limits = field(default_factory=Limits)
