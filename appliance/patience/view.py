"""What is told of a download, to its page and from worker to worker."""

import base64
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from appliance.domain.reason import Reason, reason_of

type Headers = tuple[tuple[str, str], ...]


class State(Enum):
    RECEIVING = "receiving"
    """It still comes from the server."""
    SCANNING = "scanning"
    """It is here as a whole, and the verdict is not."""
    READY = "ready"
    """Clean, and waiting to be fetched."""
    STOPPED = "stopped"
    """Infected, or it failed: ``page`` says how."""
    OVER = "over"
    """Fetched, given up, or not fetched in time."""


@dataclass(frozen=True, slots=True)
class Page:
    """A complete answer, without Content-Length."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class View:
    """``received``: octets that have come; ``total``: octets announced, None where the server did not say."""

    state: State
    name: str
    url: str
    received: int
    total: int | None
    reason: Reason = Reason.OK
    page: Page | None = None

    def to_json(self) -> dict[str, Any]:
        page = self.page
        told = [page.status, page.headers, base64.b64encode(page.body).decode()] if page is not None else None
        return {
            "state": self.state.value, "name": self.name, "url": self.url, "received": self.received, "total": self.total,
            "reason": self.reason.word, "page": told,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Raises ValueError, KeyError or TypeError: not what ``to_json`` writes."""
        told = value["page"]
        page = None
        if told is not None:
            page = Page(int(told[0]), tuple((str(name), str(text)) for name, text in told[1]), base64.b64decode(told[2]))
        return cls(
            State(value["state"]), value["name"], value["url"], value["received"], value["total"],
            reason_of(value["reason"]) or Reason.INTERNAL_ERROR, page,
        )  # fmt: skip
