"""Memory that nobody uses any more, given back to the system."""

import ctypes
import gc
from typing import Final

SLACK: Final = 64 * 1024 * 1024
"""Bytes that are left alone: below it a collection, and the page faults after a trim, cost more than they bring."""
REST: Final = 10.0
"""Seconds between collections, each of which looks at every live object while all clients wait."""
_FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Info(ctypes.Structure):
    """``struct mallinfo2`` (glibc 2.33)."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS.split()]


class Memory:
    """Asked now and then. Does nothing with another C library."""

    def __init__(self, slack: int = SLACK) -> None:
        libc = ctypes.CDLL(None)
        self._libc = libc if hasattr(libc, "mallinfo2") and hasattr(libc, "malloc_trim") else None
        if self._libc is not None:
            self._libc.mallinfo2.restype = _Info
        self._slack = slack
        self._floor = 0
        self._collected = float("-inf")

    def give_back(self, now: float) -> bool:
        """Whether anything was done. ``now``: monotonic seconds.

        mitmproxy's layers and flows refer to each other, so the bodies they hold are freed by the garbage collector only,
        which counts objects, not bytes, and may not come for hours: 30 cancelled downloads of 15 MB kept 420 MB.
        glibc in turn gives back only what is free at the very end of the heap.
        """
        if self._libc is None:
            return False
        collected = self._collect(now)
        trimmed = self._libc.mallinfo2().fordblks > self._slack and bool(self._libc.malloc_trim(ctypes.c_size_t(0)))
        return collected or trimmed

    def _collect(self, now: float) -> bool:
        if self._used() <= self._floor + self._slack or now < self._collected + REST:
            return False
        gc.collect()
        self._floor, self._collected = self._used(), now
        return True

    def _used(self) -> int:
        if self._libc is None:
            return 0
        info = self._libc.mallinfo2()
        used = int(info.uordblks) + int(info.hblkhd)
        self._floor = min(self._floor, used)
        return used
