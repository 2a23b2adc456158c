"""What is asked for an explanation, as a person writes it."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from appliance.domain.target import Target, normalise_host, parse_authority

NO_SNI = "-"
_PORTS = {"http": 80, "https": 443}


class QuestionError(ValueError):
    """The question is none: a malformed URL or address, an unknown listener or user."""


@dataclass(frozen=True, slots=True)
class Question:
    """``server`` is a listener's name; empty takes the first. ``user`` counts as authenticated."""

    url: str
    client_ip: str
    user: str = ""
    server: str = ""
    method: str = "GET"
    tenant_header: str = ""
    sni: str = ""
    """The server name in the ClientHello; empty takes the URL's host, ``NO_SNI`` says that there is none."""
    ja4: str = ""
    at: float | None = None
    """Seconds since the epoch; None: now."""
    content_type: str = ""
    """Of the message's body, for rules about scanning."""
    size: int | None = None
    """Bytes of the body; None: not stated."""
    address: str = ""
    """Where the name leads, for rules about destinations; empty: the name is not resolved."""


def server_name(name: str) -> str:
    """In normal form, or nothing. Raises QuestionError."""
    try:
        return normalise_host(name) if name else ""
    except ValueError as error:
        raise QuestionError(f"not a server name: {name!r} ({error})") from error


def split(url: str) -> tuple[str, Target, str]:
    """Scheme, host with port, path with query. Raises QuestionError."""
    text = url if "://" in url else f"https://{url}"
    try:
        parts = urlsplit(text)
        scheme = parts.scheme.lower()
        if scheme not in _PORTS:
            raise ValueError("write http://host/path or https://host/path")
        target = parse_authority(parts.netloc.rpartition("@")[2], _PORTS[scheme])
    except ValueError as error:
        raise QuestionError(f"not a URL: {url!r} ({error})") from error
    return scheme, target, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
