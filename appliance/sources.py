"""Which code this is: the parent and its children must run the same, for they hand each other objects."""

import hashlib
from pathlib import Path

from appliance import __version__

PACKAGES = ("appliance", "addons", "certs", "icap")


def fingerprint(root: Path | None = None) -> str:
    """The version, and a hash of every source file as it is on disk now. ``root``: the folder that holds the packages.
    Raises OSError."""
    root = root or Path(__file__).parents[1]
    found = hashlib.sha256()
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            found.update(f"{file.relative_to(root)}\0".encode())
            found.update(hashlib.sha256(file.read_bytes()).digest())
    return f"{__version__}-{found.hexdigest()[:16]}"
