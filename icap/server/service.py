"""The contract between the server and its services, and what all answers have in common."""

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Protocol

from icap.protocol.events import Request, Response
from icap.protocol.headers import Field, Headers
from icap.server.exchange import Account, Exchange
from icap.server.scanners.scanner import Cancel

type Settle = Callable[[Callable[[], None]], None]


class Service(Protocol):
    @property
    def methods(self) -> frozenset[str]:
        """REQMOD, RESPMOD or both. OPTIONS is always served."""

    @property
    def istag(self) -> str:
        """Without its quotes; changes when answers may change (RFC 3507 section 4.7)."""

    def at_once(self, request: Request, may_send_204: bool) -> Response | None:
        """The answer to a request that is here whole, when neither its body nor anything else has to be waited for.

        The same object again and again is written fastest. None: ``serve`` is asked.
        """

    def begin(self, exchange: Exchange, body: bytes, settle: Settle) -> Cancel | None:
        """Begin to answer a request whose whole body is here, without a task. ``settle`` is called later and once, with what
        answers, unless it is cancelled. None: nothing was begun, and ``serve`` is asked."""

    async def options(self, exchange: Exchange) -> None:
        """Answer OPTIONS."""

    async def serve(self, exchange: Exchange) -> None:
        """Answer a REQMOD or RESPMOD. Exceptions of ``exchange.body`` are to be let through."""


type Services = Mapping[str, Service]


class Watcher(Protocol):
    """Is told what happens, for counters. Called in the event loop; must neither block nor raise."""

    def connections(self, count: int) -> None:
        """Connections open now, at each change."""

    def refused(self) -> None:
        """A connection above the cap was answered 503."""

    def finished(self, account: Account) -> None:
        """An exchange is over, answered or not."""


class NoWatcher:
    def connections(self, count: int) -> None:
        return

    def refused(self) -> None:
        return

    def finished(self, account: Account) -> None:
        return


SERVER_ISTAG = "arcus"
"""For answers that no service gives."""


@lru_cache(64)
def make_istag(material: str) -> str:
    """30 bytes, so that it fits the 32 of RFC 3507 section 4.7 with its quotes."""
    return f"arcus-{hashlib.sha256(material.encode()).hexdigest()[:24]}"


def istag_field(istag: str) -> Field:
    return ("ISTag", f'"{istag}"')


def bare(status: int, istag: str = SERVER_ISTAG, *fields: Field, reason: str = "") -> Response:
    """An answer without a message in it."""
    return Response(status, Headers((istag_field(istag), *fields)), reason=reason)
