"""From notes to the audit record: sizes and times of a flow, and the one place where a task is written."""

import time
from collections.abc import Callable
from typing import Protocol

from mitmproxy.http import HTTPFlow

from addons.carry import is_ours
from appliance.domain.notes import EscapeNotes, TaskNotes
from appliance.engine.websocket import OCTETS


class Count(Protocol):
    """Told of each finished task (see ``appliance.telemetry``)."""

    def __call__(self, notes: TaskNotes) -> None: ...


class Finish:
    """``write`` raises when the record cannot be written; the hook guard then stops the flow."""

    def __init__(self, write: Callable[[TaskNotes], None], count: Count) -> None:
        self._write = write
        self._count = count

    def flow(self, flow: HTTPFlow, notes: TaskNotes) -> None:
        """The task of a flow has ended; telling it again changes nothing."""
        if notes.recorded:
            return
        _sizes(flow, notes)
        _times(flow, notes)
        notes.escape = _escape(flow) or notes.conn.escape if not is_ours(flow) or notes.upstream_status else notes.escape
        self.task(notes)

    def task(self, notes: TaskNotes) -> None:
        notes.ended = time.time()
        self._write(notes)
        self._count(notes)


def _escape(flow: HTTPFlow) -> EscapeNotes | None:
    return getattr(flow.server_conn, "arcus", None)


def _sizes(flow: HTTPFlow, notes: TaskNotes) -> None:
    notes.own_answer = is_ours(flow)
    if flow.request.raw_content is not None and not notes.request_bytes:
        notes.request_bytes = len(flow.request.raw_content)
    if flow.response is not None and flow.response.raw_content is not None and not notes.response_bytes:
        notes.response_bytes = len(flow.response.raw_content)
    if (relayed := flow.metadata.pop(OCTETS, None)) is not None:
        notes.request_bytes += relayed[0]
        notes.response_bytes += relayed[1]


def _times(flow: HTTPFlow, notes: TaskNotes) -> None:
    """Milliseconds per step. Opening the connections belongs to the first request that needed them."""
    request, response, server = flow.request, flow.response, flow.server_conn
    _step(notes, "request", request.timestamp_start, request.timestamp_end)
    if response is not None and notes.upstream_status:
        _step(notes, "wait", request.timestamp_end, response.timestamp_start)
        _step(notes, "response", response.timestamp_start, response.timestamp_end)
    opened = server.timestamp_start
    if opened is not None and (opened >= request.timestamp_start or notes.conn.requests == 1):
        _step(notes, "connect", opened, server.timestamp_tcp_setup)
        _step(notes, "server_tls", server.timestamp_tcp_setup, server.timestamp_tls_setup)
    if notes.conn.requests == 1:
        _step(notes, "client_tls", flow.client_conn.timestamp_start, flow.client_conn.timestamp_tls_setup)


def _step(notes: TaskNotes, name: str, start: float | None, end: float | None) -> None:
    if start is not None and end is not None:
        notes.step(name, max(0.0, end - start))
