"""Warnings that a person may go on from: who gets a button, whose button counts, and what pressing it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from appliance.config.upstream_certificates import Warn
from appliance.domain.errors import PolicyError
from appliance.domain.ids import TenantId
from appliance.domain.notes import TaskNotes
from appliance.domain.proceed import Offer, Warned
from appliance.domain.reason import Reason
from appliance.policy.accept import Form, negotiate
from appliance.policy.proceed import Claim, Sealer, safe_path

BUTTON: Final = "/.well-known/arcus/proceed"
"""On the blocked site's own origin: only there can the page's form be told from another site's."""


class Headers(Protocol):
    """Fields of a request, by names without regard to case."""

    def __getitem__(self, name: str, /) -> str: ...
    def __contains__(self, name: object, /) -> bool: ...


class Store(Protocol):
    """See ``appliance.storage.grants``."""

    def grant(self, warned: Warned, until: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Gone:
    """The answer to a button that counted: back to where the person wanted to go."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    detail: str
    """For the audit record."""


class Warnings:
    """``tenants``: those whose matrix warns. ``now``: seconds since the epoch."""

    def __init__(self, tenants: Mapping[TenantId, Warn], sealer: Sealer, store: Store, now: Callable[[], float]) -> None:
        self._tenants = dict(tenants)
        self._sealer, self._store, self._now = sealer, store, now

    def offers(self, tenant: TenantId) -> bool:
        return tenant in self._tenants

    def offer(self, notes: TaskNotes) -> Offer | None:
        """The button for the page of a task that failed; none when it was no person's, or nothing that may be accepted."""
        server = notes.conn.server_tls
        warned = server.warned if server is not None else None
        config = self._tenants.get(notes.conn.tenant or TenantId(""))
        if warned is None or config is None or not notes.navigation or notes.reason.word != warned.cause:
            return None
        issued = self._now()
        claim = Claim(warned, issued, issued + config.link, safe_path(notes.path))
        return Offer(BUTTON, self._sealer.seal(claim), config.proceed)

    def go_on(self, token: str, asking: Warned) -> Gone:
        """Record that the person goes on.

        Pressing the button again changes nothing: what is granted ends at a time that the token fixes.

        Raises:
            PolicyError: the token does not count, for a PROCEED reason.
        """
        claim = self._sealer.open(token, asking, self._now())
        until = claim.issued + self._tenants[asking.tenant].proceed
        try:
            kept = self._store.grant(claim.warned, until)
        except OSError as error:
            raise PolicyError(Reason.PROCEED_FULL, str(error)) from error
        if not kept:
            raise PolicyError(Reason.PROCEED_FULL, "too many grants")
        headers = (("Location", claim.back), ("Cache-Control", "no-store"), ("Content-Type", "text/plain"))
        return Gone(303, headers, b"", _record(claim, until))


def _record(claim: Claim, until: float) -> str:
    end = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"proceed granted: {claim.warned.cause}, certificate {claim.warned.certificate}, until {end}"


def is_navigation(method: str, headers: Headers) -> bool:
    """Whether a person waits for this page (W3C Fetch Metadata; without it, whether HTML is what is asked for)."""
    if method != "GET":
        return False
    if "sec-fetch-mode" in headers:
        return headers["sec-fetch-mode"] == "navigate" and _value(headers, "sec-fetch-dest") == "document"
    return negotiate(_value(headers, "accept")) is Form.HTML


def own_button(headers: Headers, host: str, port: int) -> bool:
    """Whether a form was sent by a page of the same origin: browsers say so, and no page can make them say it."""
    if "sec-fetch-site" in headers:
        return headers["sec-fetch-site"] == "same-origin"
    authority = host if port == 443 else f"{host}:{port}"
    return _value(headers, "origin") == f"https://{authority}"


def _value(headers: Headers, name: str) -> str:
    return headers[name] if name in headers else ""  # noqa: SIM401 - no ``get``: mitmproxy's is not typed
