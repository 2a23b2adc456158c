"""Alternative services (RFC 7838): where a server tells clients to go instead, which may be a way around inspection."""

import re
from typing import Final

MAX_LENGTH: Final = 4096
"""Longer values say nothing that anybody needs."""

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_PARAMETER: Final = rf"[ \t]*;[ \t]*{_NAME}=(?:{_NAME}|{_QUOTED})"
_ALTERNATIVE: Final = re.compile(rf"[ \t]*({_NAME})=({_QUOTED})((?:{_PARAMETER})*)[ \t]*(?:,|\Z)")
_INSPECTED: Final = frozenset({"h2", "http%2f1.1"})
"""Protocols that come through us: over TCP, with TLS that we can open."""


def keep_inspected(value: str, host: str, port: int) -> str:
    """The alternatives that lead through us as well: HTTP over TCP, on the same host and port. Empty when none is left.

    A value that does not follow the grammar is dropped as a whole: clients differ in what they make of it. ``clear`` stays.
    """
    if value.strip(" \t") == "clear":
        return "clear"
    kept, at = [], 0
    while at < len(value) <= MAX_LENGTH:
        found = _ALTERNATIVE.match(value, at)
        if found is None:
            return ""
        protocol, authority, parameters = found.groups()
        if protocol.lower() in _INSPECTED and _here(authority[1:-1], host, port):
            kept.append(f"{protocol}={authority}{parameters}")
        at = found.end()
    return ", ".join(kept)


def _here(authority: str, host: str, port: int) -> bool:
    """Whether an alt-authority, ``[host]:port``, is this host and port; its host is empty for the origin's own."""
    name, colon, number = authority.rpartition(":")
    return bool(colon) and number == str(port) and name.lower() in ("", host, f"[{host}]")
