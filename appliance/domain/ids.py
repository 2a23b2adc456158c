"""Identifiers that travel through the whole appliance."""

import os
import time
from typing import NewType

TenantId = NewType("TenantId", str)
TaskId = NewType("TaskId", str)

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
"""Two characters at a time: an id is made for every request."""


def new_task_id(now_ms: int | None = None, entropy: bytes | None = None) -> TaskId:
    """A 26-character ULID: 48 bits of milliseconds, then 80 random bits, so ids sort by time of creation."""
    stamp = int(time.time() * 1000) if now_ms is None else now_ms
    value = stamp << 80 | int.from_bytes(entropy if entropy is not None else os.urandom(10))
    return TaskId("".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)]))
