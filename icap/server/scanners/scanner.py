"""The contract between the ICAP server and whatever looks into a body."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Protocol, runtime_checkable

from appliance.domain.reason import Reason


class ScanOutcome(Enum):
    CLEAN = "clean"
    INFECTED = "infected"
    BLOCKED = "blocked"
    """Nothing was found that does harm, but a rule of the scanner's configuration refuses the body."""
    ERROR = "error"
    """No verdict. Never to be treated as clean."""


class Grounds(IntEnum):
    """What of a message a verdict depends on, the wider the higher."""

    BODY = 0
    CODING = 1
    """The body and its Content-Encoding."""
    HEAD = 2
    """The whole subject."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a message says of its body. Whoever sent it wrote all of this."""

    content_type: str = ""
    """In lower case, without parameters."""
    extension: str = ""
    """Of the file's name, in lower case, without the dot."""
    coding: str = ""
    """Content-Encoding, in lower case."""


UNKNOWN = Subject()


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What one scan said. ``ms`` is the whole scan with its waits, ``size`` and ``sha256`` the bytes that were looked at."""

    outcome: ScanOutcome
    signature: str = ""
    """What was found, or the rule that refuses."""
    engine: str = ""
    """Scanner and database, as ``ClamAV 1.4.6/27431``; empty when the scanner never answered."""
    ms: float = 0.0
    size: int = 0
    sha256: str = ""
    """Hex digest of the whole body; empty when the body was not read to its end."""
    reason: Reason = Reason.OK
    """Why there is no verdict (ERROR), or why the body is refused (BLOCKED)."""
    detail: str = ""
    scanner: str = ""
    """The scanner's name in the configuration."""
    unscanned: str = ""
    """What of a body that passes was not looked into, by configuration: ``encrypted``."""
    parts: tuple["ScanResult", ...] = ()
    """What each scanner of several said."""


@dataclass(frozen=True, slots=True)
class ScannerHealth:
    """The last thing known of a scanner. ``up`` is false until it has answered once."""

    up: bool
    engine: str = ""
    detail: str = ""


type Told = Callable[[ScanResult], None]
type Cancel = Callable[[], None]


@runtime_checkable
class Prompt(Protocol):
    """What a scanner may be able to do beside: scan a body that is here whole without a task."""

    def begin(self, body: bytes, told: Told) -> Cancel | None:
        """``told`` is given what ``scan`` would give, later and once, unless it is cancelled. None: nothing was begun, and
        ``scan`` is to be asked."""


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

    @property
    def grounds(self) -> Grounds:
        """What verdicts depend on."""

    async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
        """Look into the bytes of ``chunks``, in order.

        Failures of the scanner are results with outcome ERROR. What ``chunks`` itself raises (a body that ends before
        its end) is raised on: there is no verdict on half a body. ``chunks`` may be left unfinished on ERROR.
        """

    async def start(self) -> None:
        """Begin to watch the scanner. A scanner that is down now and up later is used as soon as it is up."""

    async def close(self) -> None:
        """Stop watching. Scans under way go on."""
