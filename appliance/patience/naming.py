"""How a delivered file is called, and which of its server's fields come with it."""

from email.message import Message
from typing import Final
from urllib.parse import quote, unquote

from appliance.patience.view import Headers

MAX_NAME: Final = 150
_KEPT: Final = frozenset(("content-type", "content-encoding", "content-language", "last-modified"))
"""Nothing else of the head is the file's. Cookies least of all: they were for a person who was shown the answer."""


def file_name(disposition: str, path: str) -> str:
    """By Content-Disposition (RFC 6266), else by the path's last segment."""
    named = ""
    if disposition:
        message = Message()
        message["Content-Disposition"] = disposition.replace("\r", " ").replace("\n", " ")
        try:
            named = message.get_filename("") or ""
        except ValueError:  # a character set that cannot be had so: "undefined", "idna", one with a zero octet
            named = ""
    segment = unquote(path.partition("?")[0].rpartition("/")[2])
    return _plain(named) or _plain(segment) or "download"


def delivered(fields: Headers, name: str) -> Headers:
    """The fields of the file. It is always saved: shown, it would run under the site's name without the site's own policies
    (Content-Security-Policy and the like)."""
    kept = tuple((key, value) for key, value in fields if key.lower() in _KEPT)
    return (
        *kept,
        ("Content-Disposition", disposition(name)),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Accept-Ranges", "bytes"),
    )


def disposition(name: str) -> str:
    """``attachment`` with the name, for old and for new clients (RFC 6266 appendix D)."""
    plain = "".join(char if char.isascii() and char not in '"\\%' else "_" for char in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _plain(name: str) -> str:
    """Without folders, and with nothing that does not print: U+202E shows exe.txt for what ends in .exe."""
    last = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(char if char.isprintable() else "_" for char in last).strip(" .")
    if len(shown) <= MAX_NAME:
        return shown
    stem, dot, ending = shown.rpartition(".")
    return f"{stem[: MAX_NAME - 20]}{dot}{ending[:19]}" if dot else shown[:MAX_NAME]
