"""The serials of one CA's revoked leaves, as a process knows them: whoever remembers leaves hands out none of these."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from appliance.watched import Watched
from certs import revoked

MAX_LIST = 4 * 1024 * 1024
"""Octets of a list that is full, with room to spare."""


@dataclass(frozen=True, slots=True)
class _Serials:
    all: frozenset[int] = frozenset()
    mark: str = ""

    @classmethod
    def parse(cls, data: bytes) -> "_Serials":
        serials = frozenset(revoked.parse(data))
        octets = b"".join(serial.to_bytes(20) for serial in sorted(serials))
        return cls(serials, hashlib.sha256(octets).hexdigest() if octets else "")


class Withdrawn:
    """``file``: the CA's list (``certs.revoked``); None: nothing is ever revoked. What was known stays known when the list
    cannot be read any more."""

    def __init__(self, file: Path | None = None) -> None:
        self._list = Watched(file, _Serials.parse, _Serials(), MAX_LIST) if file is not None else None
        self.refresh()

    def __contains__(self, serial: int) -> bool:
        return self._list is not None and serial in self._list.value.all

    @property
    def mark(self) -> str:
        """Another one after each revocation, and the same in every process that has read the same list."""
        return self._list.value.mark if self._list is not None else ""

    @property
    def trouble(self) -> str:
        """Why the list could not be read."""
        return self._list.trouble if self._list is not None else ""

    def refresh(self) -> None:
        """Read the list again if it was replaced."""
        if self._list is not None:
            self._list.refresh()

    def look(self) -> None:
        """The same in an event loop, which a long list does not hold up."""
        if self._list is not None:
            self._list.look()
