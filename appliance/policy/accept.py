"""Which form of a page the client wants, by its Accept field (RFC 9110 section 12.5.1)."""

from enum import Enum
from typing import Final

MAX_LENGTH: Final = 1024


class Form(Enum):
    HTML = "text/html; charset=utf-8"
    TEXT = "text/plain; charset=utf-8"
    JSON = "application/json"


_NAMED: Final = {
    "text/html": Form.HTML,
    "application/xhtml+xml": Form.HTML,
    "application/json": Form.JSON,
    "application/problem+json": Form.JSON,
    "text/plain": Form.TEXT,
}


def negotiate(accept: str) -> Form:
    """The named form with the highest weight, the first of equals. Wildcards name nothing: ``*/*`` is what tools send,
    and they show text better than markup."""
    best, weight = Form.TEXT, 0.0
    for item in accept[:MAX_LENGTH].split(","):
        media, *parameters = (part.strip().lower() for part in item.split(";"))
        form = _NAMED.get(media)
        if form is not None and (quality := _quality(parameters)) > weight:
            best, weight = form, quality
    return best


def _quality(parameters: list[str]) -> float:
    text = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        quality = float(text) if len(text) <= 5 else 0.0
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0
