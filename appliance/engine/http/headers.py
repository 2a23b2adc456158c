"""The fields of a message, as mitmproxy's addons ask for them."""

from typing import Any

from mitmproxy import http

from appliance.engine.http.grammar import Field


class QuickHeaders(http.Headers):
    """The same answers as the base class's, which walks through a function of its own for each field, and through an exception
    for a name that is not there: a request asks a dozen times."""

    def get_all(self, name: str | bytes) -> list[str]:
        wanted = (name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")).lower()
        return [value.decode("utf-8", "surrogateescape") for field, value in self.fields if field.lower() == wanted]

    def get(self, name: str | bytes, default: Any = None) -> Any:
        values = self.get_all(name)
        return ", ".join(values) if values else default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str | bytes) and bool(self.get_all(name))


def make_headers(fields: tuple[Field, ...]) -> http.Headers:
    """Headers without the constructor's check of each item's type: our parser made them."""
    headers = QuickHeaders.__new__(QuickHeaders)
    headers.fields = fields
    return headers
