"""How requests come to a service."""

from typing import Protocol

from icap.client.body import Body
from icap.client.transaction import Answer
from icap.protocol import Request


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

    async def exchange(self, request: Request, body: bytes | Body, deadline: float) -> Answer:
        """The complete answer, by ``deadline`` (the loop's time); the time in which a ``Body`` arrives does not count.

        Raises:
            ScanError: there is none, or what the body was aborted with.
        """
