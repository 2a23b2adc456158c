"""Clients that name no server in TLS: ``tls_interception.no_sni``."""

from typing import Any, Literal

from pydantic import model_validator

from appliance.config.values import Node


class NoSni(Node):
    """A hello without a server name. `no_sni: block` is short for `no_sni: {action: block}`."""

    action: Literal["intercept", "splice", "block"]
    """intercept: decrypt, with a leaf for the host of the CONNECT or the address. splice: relay as it is. block: refuse."""
    page: bool = True
    """For `block`: answer with a page inside TLS; false: with a TLS alert."""
    reason: str = ""
    """Stands in the audit record, and on the page for `block`."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"action": value} if isinstance(value, str) else value
