"""The spellings of a request's path, so that a rule for ``/games`` also sees ``/%67ames`` and ``/x/../games``."""

from functools import lru_cache
from posixpath import normpath
from urllib.parse import unquote


@lru_cache(maxsize=64)
def spellings(path: str) -> tuple[str, ...]:
    """The path as it stands, and as most servers read it: percent-decoded once, dot segments and double slashes gone.

    The query stays attached; it is decoded, not resolved. Remembered only for the rules of the requests at hand: paths
    are chosen by clients and may be 16 KiB long.
    """
    route, mark, query = path.partition("?")
    decoded = unquote(route)
    resolved = "/" + normpath(decoded).lstrip("/") if decoded.startswith("/") else decoded
    if decoded.endswith(("/", "/.", "/..")) and not resolved.endswith("/"):
        resolved += "/"
    return tuple(dict.fromkeys((path, resolved + mark + unquote(query))))
