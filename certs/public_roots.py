"""The roots of the public web: those of Mozilla's list, as the ``certifi`` package has them.

Which roots are believed is another question (``certs.roots``): this one is only about which of them keep the rules of the
public web. An organisation's own root, installed among those of the machine, does not.
"""

import base64
import hashlib
import re
from pathlib import Path

import certifi

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


def fingerprints(file: Path | None = None) -> frozenset[str]:
    """SHA-256 in hex. ``file``: another list, in PEM. Raises OSError."""
    text = (file or Path(certifi.where())).read_text("ascii", "replace")
    return frozenset(hashlib.sha256(base64.b64decode(each[1])).hexdigest() for each in _PEM.finditer(text))
