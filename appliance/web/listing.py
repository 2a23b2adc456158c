"""One event as a line of the list, and as the heading of its page: texts only, none of them missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.web.show import milliseconds, moment, path_segment, plain, size


@dataclass(frozen=True, slots=True)
class Line:
    """``target``: what was asked for, as far as it is known. ``link``: the event's page, without a suffix."""

    id: str
    link: str
    time: str
    client: str
    user: str
    tenant: str
    method: str
    target: str
    status: str
    action: str
    reason: str
    detail: str
    signature: str
    size: str
    took: str

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> "Line":
        """Takes any event, also one that lacks every field."""

        def text(name: str) -> str:
            return plain(event.get(name) or "")

        # what has no request of its own says in a sentence what happened
        told = event.get("act") or event.get("kind") == "retro"
        return cls(
            id=text("id"),
            link=f"/audit/{path_segment(text('id'))}",
            time=moment(event.get("created_at") or ""),
            client=text("source_ip"),
            user=text("user_id"),
            tenant=text("tenant_id"),
            method=text("method"),
            target=text("url") or (text("detail") if told else "") or text("destination_host") or text("kind"),
            status=text("status"),
            action=text("action"),
            reason=text("reason"),
            detail=text("detail"),
            signature=text("signature"),
            size=size(event.get("bytes_sent") or 0),
            took=milliseconds(event.get("duration_ms") or 0),
        )
