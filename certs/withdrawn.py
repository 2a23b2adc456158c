"""The serials of one CA's revoked leaves, as a process knows them: whoever remembers leaves hands out none of these."""

import hashlib
import logging
from pathlib import Path

from appliance.files import stamp
from certs import revoked
from certs.revoked import RevokedError

logger = logging.getLogger(__name__)


class Withdrawn:
    """``file``: the CA's list (``certs.revoked``); None: nothing is ever revoked. What was known stays known when the list
    cannot be read any more."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._seen: tuple[int, ...] = ()
        self._serials: frozenset[int] = frozenset()
        self.mark = ""
        """Another one after each revocation, and the same in every process that has read the same list."""
        self.trouble = ""
        """Why the list could not be read."""
        self.refresh()

    def __contains__(self, serial: int) -> bool:
        return serial in self._serials

    def refresh(self) -> None:
        """Read the list again if it was replaced; one look at the file costs some microseconds."""
        if self._file is None:
            return
        try:
            seen = stamp(self._file)
            if seen != self._seen:
                self._read(self._file)
                self._seen, self.trouble = seen, ""
        except (OSError, RevokedError) as error:
            if not self.trouble:
                logger.error("the list of revoked leaves cannot be read: %s", error)
            self.trouble = str(error)

    def _read(self, file: Path) -> None:
        self._serials = frozenset(revoked.read(file))
        octets = b"".join(serial.to_bytes(20) for serial in sorted(self._serials))
        self.mark = hashlib.sha256(octets).hexdigest() if octets else ""
