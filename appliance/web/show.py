"""How values are written for a person. All of these take whatever an event holds, and raise nothing."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from appliance.audit.fields import Kind, find_field

_TLS = {768: "SSL 3.0", 769: "TLS 1.0", 770: "TLS 1.1", 771: "TLS 1.2", 772: "TLS 1.3"}


def moment(value: object) -> str:
    """Seconds since the epoch as a UTC date with milliseconds."""
    if isinstance(value, int | float):
        try:
            return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S}.{int(value % 1 * 1000):03d}"
        except (ValueError, OverflowError, OSError):
            return str(value)
    return str(value)


def size(value: object) -> str:
    """Bytes, shortened."""
    if not isinstance(value, int | float):
        return str(value)
    amount = float(value)
    for unit in ("B", "KB", "MB", "GB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TB"


def milliseconds(value: object) -> str:
    """Milliseconds; seconds from ten of them on."""
    if not isinstance(value, int | float):
        return str(value)
    return f"{value / 1000:.1f} s" if value >= 10_000 else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def value_of(name: str, value: object) -> str:
    """Any field of an event, by its kind."""
    field = find_field(name)
    if field is not None and field.kind is Kind.TIME:
        return f"{moment(value)} UTC"
    if name == "client_hello.versions" and isinstance(value, list):
        return ", ".join(_TLS.get(item, str(item)) if isinstance(item, int) else str(item) for item in value)
    return plain(value)


def plain(value: object) -> str:
    """Lists and objects in words, not in brackets."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    return str(value)


def path_segment(value: object) -> str:
    """As one segment of a URL path."""
    return quote(str(value).encode("utf-8", "replace"), safe="")


def search_link(name: str, value: object) -> str:
    """Where the events with this value are; empty for what cannot be searched by value."""
    field = find_field(name)
    if field is None or not isinstance(value, str | int | bool) or field.kind in (Kind.LIST, Kind.MAP):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    literal = text.replace("\\", "\\\\").replace('"', '\\"')
    return "/audit?" + urlencode({"q": f'{name}:"{literal}"', "range": "all"}, errors="replace")


FILTERS: dict[str, Callable[..., Any]] = {
    "moment": moment,
    "size": size,
    "milliseconds": milliseconds,
    "plain": plain,
    "segment": path_segment,
}
