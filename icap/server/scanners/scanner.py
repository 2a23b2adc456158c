"""The contract between the ICAP server and whatever looks into a body."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from appliance.domain.reason import Reason


class ScanOutcome(Enum):
    CLEAN = "clean"
    INFECTED = "infected"
    ERROR = "error"
    """No verdict. Never to be treated as clean."""


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What one scan said. ``ms`` is the whole scan with its waits, ``size`` and ``sha256`` the bytes that were looked at."""

    outcome: ScanOutcome
    signature: str = ""
    engine: str = ""
    """Scanner and database, as ``ClamAV 1.4.6/27431``; empty when the scanner never answered."""
    ms: float = 0.0
    size: int = 0
    sha256: str = ""
    """Hex digest of the whole body; empty when the body was not read to its end."""
    reason: Reason = Reason.OK
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ScannerHealth:
    """The last thing known of a scanner. ``up`` is false until it has answered once."""

    up: bool
    engine: str = ""
    detail: str = ""


class Scanner(Protocol):
    @property
    def engine(self) -> str:
        """``product version/database`` as last stated by the scanner; empty when not known yet."""

    @property
    def fingerprint(self) -> str:
        """Changes when verdicts may change: engine, database and settings. Material for an ISTag (RFC 3507 section 4.7)."""

    @property
    def health(self) -> ScannerHealth:
        """The last thing known, without asking."""

    async def scan(self, chunks: AsyncIterator[bytes]) -> ScanResult:
        """Look into the bytes of ``chunks``, in order.

        Failures of the scanner are results with outcome ERROR. What ``chunks`` itself raises (a body that ends before
        its end) is raised on: there is no verdict on half a body. ``chunks`` may be left unfinished on ERROR.
        """

    async def start(self) -> None:
        """Begin to watch the scanner. A scanner that is down now and up later is used as soon as it is up."""

    async def close(self) -> None:
        """Stop watching. Scans under way go on."""
