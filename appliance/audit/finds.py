"""What was delivered and is found bad afterwards becomes an event of ``kind: retro``, by the same spool as every other."""

import hashlib
from collections.abc import Sequence
from typing import Any

from appliance.domain.retro import Body, Flow
from appliance.domain.text import printable

KIND = "retro"
_LINE = 512


def event_of(body: Body, flows: Sequence[Flow], now: float) -> dict[str, Any]:
    """Has every field that all events have. Its id is made of what it tells, so that the same told twice is known."""
    number, at = len(flows), round(now, 6)
    detail = f"{body.sha256} was delivered, and is found bad now by {body.found_by}: {number} flow{'' if number == 1 else 's'}"
    event: dict[str, Any] = {
        "id": _id(body, flows), "conn_id": _id(body, flows), "tenant_id": body.tenant, "user_id": "",
        "event_type": "error", "kind": KIND, "source_ip": "", "source_port": 0, "server": "",
        "destination_host": flows[0].host if flows else "", "destination_port": 0, "method": "", "url": "", "user_agent": "",
        "status": 0, "bytes_sent": 0, "bytes_received": 0, "duration_ms": 0.0, "blocked": False,
        "action": "alert", "reason": "malware_found", "rule": "", "stage": "finished", "started_at": at, "created_at": at,
        "detail": printable(detail, _LINE), "signature": printable(body.signature, _LINE),
    }  # fmt: skip
    return event | {"retro": _parts(body), "flows": [_flow(flow) for flow in flows]}


def _parts(body: Body) -> dict[str, Any]:
    known = {
        "sha256": body.sha256, "size": body.size, "by": printable(body.found_by, 300), "engine": printable(body.engine, _LINE),
        "deliveries": body.deliveries,
        "found_at": round(body.found_at, 6), "first_at": round(body.first_at, 6), "limits": list(body.limits),
    }  # fmt: skip
    return {name: value for name, value in known.items() if value}


def _flow(flow: Flow) -> dict[str, Any]:
    known = {
        "task": flow.task, "at": round(flow.at, 6), "side": flow.side, "user": flow.user, "client": flow.client,
        "host": flow.host, "url": flow.url,
    }  # fmt: skip
    return {name: value for name, value in known.items() if value}


def _id(body: Body, flows: Sequence[Flow]) -> str:
    text = "\0".join((body.tenant, body.sha256, *(f"{flow.task} {flow.side}" for flow in flows)))
    return hashlib.sha256(text.encode()).hexdigest()[:26]
