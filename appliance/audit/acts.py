"""Acts become audit events of ``kind: decision``, by the same spool as every other event."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from appliance.audit.spool import Spool
from appliance.domain.act import Act, Via
from appliance.domain.text import printable

KIND = "decision"
WRITER = 999
"""Stands in the name of the segment where a worker's number would."""
_LINE = 512


def event_of(act: Act) -> dict[str, Any]:
    """Has every field that all events have, so that whoever reads events need not know of this kind."""
    person = act.by.via is not Via.ITSELF
    at, line = round(act.at, 6), _line(act)
    event: dict[str, Any] = {
        "id": act.id, "conn_id": act.id, "tenant_id": act.tenant,
        "user_id": printable(act.by.name, 128) if person else "",
        "event_type": "error" if act.failed else "allow", "kind": KIND,
        "source_ip": act.by.address, "source_port": 0, "server": "",
        "destination_host": act.host, "destination_port": 0, "method": "", "url": "", "user_agent": "",
        "status": 0, "bytes_sent": 0, "bytes_received": 0, "duration_ms": 0.0, "blocked": False,
        "action": "fail" if act.failed else "decide", "reason": "internal_error" if act.failed else "ok", "rule": "",
        "stage": "finished", "started_at": at, "created_at": at, "detail": line,
    }  # fmt: skip
    return event | {"act": _parts(act)}


def _line(act: Act) -> str:
    text = f"{act.on} {act.host or act.subject} {act.verb} by {act.by}"
    return printable(text + (f": {act.failed or act.note}" if act.failed or act.note else ""), _LINE)


def _parts(act: Act) -> dict[str, Any]:
    known = {
        "on": act.on, "subject": act.subject, "verb": act.verb, "by": printable(act.by.name, 300), "via": act.by.via.value,
        "note": printable(act.note, _LINE), "fingerprint": act.fingerprint, "until": act.until, "failed": act.failed,
    }  # fmt: skip
    return {name: value for name, value in known.items() if value}


def tell(directory: Path, max_bytes: int, acts: Iterable[Act]) -> None:
    """Write them into the spool; on return they are the kernel's, and the drain's as soon as it runs.

    Raises:
        SpoolError: none, or only some, were written; the same acts may be told again.
    """
    tell_events(directory, max_bytes, map(event_of, acts))


def tell_events(directory: Path, max_bytes: int, events: Iterable[Mapping[str, Any]]) -> None:
    """The same with whole events. A segment of its own is made and let go for them: who tells is no process that stays.

    Raises:
        SpoolError: none, or only some, were written.
    """
    spool = Spool(directory, WRITER, max_bytes)
    try:
        for event in events:
            spool.write(json.dumps(event, separators=(",", ":")).encode("ascii"))
    finally:
        spool.close()
