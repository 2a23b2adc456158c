"""Bounds of the server: connections, time, and bytes it keeps for an answer."""

from dataclasses import dataclass, field

from icap.protocol.limits import Limits


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Times in seconds, sizes in bytes. Every time is a sum over its whole phase: one byte now and then buys nothing."""

    max_connections: int = 512
    idle_timeout: float = 120.0
    """Between requests; then the connection is closed without a word, which a client's pool takes better than a 408."""
    header_timeout: float = 10.0
    """From the first byte of a request to the end of its header sections."""
    body_timeout: float = 30.0
    """Waiting for the client during one body. The time a scanner holds the body up is not in it."""
    write_timeout: float = 30.0
    """Waiting for the client to take one answer."""
    linger_timeout: float = 2.0
    """After an answer that ends the connection: the client may still be sending, and a reset would take the answer from it."""
    tick: float = 0.25
    """Precision of the deadlines."""
    backlog: int = 1024
    keep_memory: int = 256 * 1024
    """Of one body that must be sent back unmodified: above, it goes to a temporary file."""
    keep_body: int = 256 * 1024 * 1024
    """Of one body; above, the exchange fails."""
    keep_total: int = 2 * 1024 * 1024 * 1024
    """Of all bodies together."""
    limits: Limits = field(default_factory=Limits)
