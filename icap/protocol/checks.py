"""By what a message is known that a client sends to see whether a service scans.

The name stands under .invalid (RFC 6761): no message of anybody comes from there, and nothing is decided by it.
"""

from typing import Final

HOST: Final = b"health.invalid"
URL: Final = b"http://" + HOST + b"/probe"


def is_check(request_head: bytes | None) -> bool:
    """Whether this head of a request is that of such a message."""
    return request_head is not None and request_head.split(b" ", 2)[1:2] == [URL]
