"""How clamd is asked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClamdSettings:
    timeout: float = 30.0
    """Seconds that clamd may take of one scan, all waits for it together: slot, connect, write, answer.
    Waiting for the body is not in it; that is the ICAP connection's deadline."""
    concurrency: int = 8
    """Scans at once by one clamd. Beyond clamd's MaxThreads more only wait there, where nobody sees the queue."""
    max_size: int = 25 * 1024 * 1024
    """Bytes. A larger body is an error, never clean. At most clamd's StreamMaxLength."""
    refresh: float = 5.0
    """Seconds between questions for the version."""
    database: str = ""
    """What to call the database when clamd states none (loose files), as ``eicar-only``."""
    block_encrypted: bool = True
    """What clamd reports as encrypted (AlertEncrypted) is refused; otherwise it passes, and is told to be unscanned."""
    connect_timeout: float = 2.0
    """Seconds for a connection, where another clamd can be asked instead."""
    suspicion: float = 10.0
    """Seconds for which the others are preferred to one that failed."""
    sessions: bool = True
    """Keep connections for bodies of one frame."""
    name: str = "clamd"
