"""Which signatures a clamd of ours loads: the system's, or ours for tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

SYSTEM_DIRECTORY: Final = Path("/var/lib/clamav")
_DATABASES: Final = (".cvd", ".cld", ".cud")

# The EICAR test string (https://www.eicar.org), in pieces and in hex: whole, it would have this file quarantined.
_EICAR: Final = (
    "58354f2150254041505b345c505a",
    "58353428505e2937434329377d24",
    "45494341522d5354414e44415244",
    "2d414e544956495255532d544553",
    "542d46494c452124482b482a",
)


def eicar() -> bytes:
    """The 68 bytes of the EICAR test file."""
    return bytes.fromhex("".join(_EICAR))


@dataclass(frozen=True, slots=True)
class Signatures:
    directory: Path
    kind: Literal["system", "eicar-only"]
    """``eicar-only`` finds the EICAR test string and nothing else: good for a demonstration, no protection."""


def has_databases(directory: Path) -> bool:
    try:
        return any(entry.suffix in _DATABASES for entry in directory.iterdir())
    except OSError:
        return False


def choose(own: Path, system: Path = SYSTEM_DIRECTORY) -> Signatures:
    """The system's databases when there are any, otherwise the test database, written to ``own``."""
    if has_databases(system):
        return Signatures(system, "system")
    own.mkdir(parents=True, exist_ok=True)
    own.chmod(0o755)  # clamd reads it as another user
    # Any target type, any offset ("*"): an upload in a form has the string somewhere in its middle.
    database = own / "test.ndb"
    database.write_text(f"Eicar-Test-Signature:0:*:{eicar().hex()}\n")
    database.chmod(0o644)
    return Signatures(own, "eicar-only")
