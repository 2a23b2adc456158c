"""How requests come to a service."""

from typing import Protocol

from icap.client.message import Message
from icap.client.transaction import Answer
from icap.protocol import ServiceOptions


class Way(Protocol):
    """To one service: connections to a server (``Line``), or the server's own services where they are at hand
    (``icap.inside``)."""

    @property
    def limit(self) -> int:
        """Requests that may be under way now."""

    def allow(self, advertised: int | None) -> None:
        """Keep to what the service allows, if it states it."""

    def back_off(self) -> None:
        """There is more under way than the service takes."""

    def close(self) -> None:
        """Requests under way end as they will."""

    async def question(self, deadline: float) -> Answer:
        """The answer to OPTIONS, by ``deadline`` (the loop's time).

        Raises:
            ScanError: there is none.
        """

    async def ask(self, message: Message, options: ServiceOptions, deadline: float) -> Answer:
        """The complete answer to a message; the time in which its ``Body`` arrives does not count for ``deadline``.
        ``options``: what the service has answered to OPTIONS.

        Raises:
            ScanError: there is none, or what the body was aborted with.
        """
