"""A rule for a part of the clients: the same ones each time, and with a larger share only more of them."""

import hashlib
from typing import Final

from appliance.domain.facts import UserFacts

_RANGE: Final = 1 << 64


def among(share: float, rule: str, ip: str, user: UserFacts | None) -> bool:
    """Whether this client is in the share, 0 to 1, of this rule.

    A client has one place between 0 and 1 for each rule, by its user or else its address; shares are what lies below.
    Another rule orders the clients in another way, so that it is not always the same ones who try what is new.
    """
    return share >= 1.0 or _place(rule, f"user {user.name}" if user else f"ip {ip}") < share * _RANGE


def _place(rule: str, who: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{rule}\0{who}".encode()).digest()[:8])
