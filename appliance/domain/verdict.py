"""What a scan said about a message."""

from dataclasses import dataclass
from enum import Enum

from appliance.domain.reason import Reason


class Outcome(Enum):
    CLEAN = "clean"
    MODIFIED = "modified"
    BLOCKED = "blocked"
    ERROR = "error"
    """The scan failed and the policy for failures is to block."""
    BYPASSED = "bypassed"
    """The scan failed and the tenant's configuration lets the message pass."""
    FAILED = "failed"
    """The scan failed, and the next service of its set was asked."""
    SKIPPED = "skipped"
    """Not scanned, on purpose; ``detail`` says why."""


@dataclass(frozen=True, slots=True)
class ScanVerdict:
    """One ICAP transaction, as it stands in the audit record (times in milliseconds, sizes in bytes)."""

    service: str
    method: str
    outcome: Outcome
    reason: Reason = Reason.OK
    signature: str = ""
    icap_status: int = 0
    istag: str = ""
    engine: str = ""
    """Scanner and database version, as the service states it (``X-Arcus-Scanner`` or ISTag)."""
    ms: float = 0.0
    size: int = 0
    sha256: str = ""
    detail: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """X-Infection-Found, X-Virus-ID, X-Violations-Found, X-Response-Info: control characters removed."""
    scanners: tuple[str, ...] = ()
    """What each of several scanners said, a line each."""
    unscanned: str = ""
    """What of a message that passes the service did not look into, by its configuration: ``encrypted``."""
    by_body: bool = False
    """The service says that it judges by the body and its Content-Encoding alone."""
    cached: bool = False
    """The service was not asked: this is what it said of the same body before."""
    age: float = 0.0
    """Seconds since then."""
    scan_ms: float = 0.0
    """Milliseconds that it took then."""
    of: str = ""
    """``message`` of a stream, or ``trailers``; empty: a body."""
