"""The phases of a connection and how long each may last.

Deadlines of headers and handshakes count from the phase's start, so a byte per second does not extend them; a body must
keep a minimum rate over each idle window for the same reason.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from mitmproxy.http import HTTPFlow

from appliance.config.server import Timeouts
from appliance.domain.reason import Reason


class Aborting(Protocol):
    def abort(self, reason: Reason, detail: str = "") -> None: ...
    def drop_servers(self, reason: Reason) -> None: ...


class Phases:
    """``live`` are the flows between their ``requestheaders`` and their end."""

    def __init__(self, timeouts: Timeouts, *, tls: bool, multiplexed: bool = False) -> None:
        self._timeouts = timeouts
        self._time = asyncio.get_running_loop().time
        now = self._time()
        self._multiplexed = multiplexed
        self._handshake_started: float | None = now if tls else None
        self._header_started: float | None = None
        self._advanced = False
        self._last_activity = now
        self._idle_since = now
        self._window: tuple[float, int] = (now, 0)
        self._received = 0
        self.body_octets: Callable[[], int] | None = None
        """What counts as a request body on HTTP/2, where PING and WINDOW_UPDATE would keep a stalled one alive for ever."""
        self._uploading: set[str] = set()
        self._waiting: dict[str, float] = {}
        self._websocket = False
        self.hooks_running = 0
        self.busy: Callable[[], bool] = never
        """Whether something of ours works on a flow while its peers have nothing to do."""
        self.live: dict[str, HTTPFlow] = {}
        self.parted: set[str] = set()
        """Flows whose client has been answered, while their bodies go on (``engine.apart``). They watch over themselves."""

    @property
    def between_requests(self) -> bool:
        return not self.live and self._header_started is None

    @property
    def idle_for(self) -> float:
        return self._time() - self._idle_since if self.between_requests else 0.0

    def activity(self, from_client: bool, size: int) -> None:
        self._last_activity = self._time()
        if from_client:
            self._received += size

    def after_client_data(self) -> None:
        """Bytes came and no request is in progress: a header has begun (HTTP/2 has frames of its own between requests).

        Not with the bytes that ended a handshake, nor with those of a request that was answered at once.
        """
        advanced, self._advanced = self._advanced, False
        waiting = self._handshake_started is None and self._header_started is None and not self.live
        if waiting and not advanced and not self._multiplexed:
            self._header_started = self._time()

    def before_hook(self, name: str, args: tuple[object, ...]) -> None:
        match name:
            case "requestheaders" if isinstance(flow := args[0], HTTPFlow):
                self._header_started = None
                self._advanced = True
                self.live[flow.id] = flow
                if not self._uploading:
                    self._window = (self._time(), self._progress())
                self._uploading.add(flow.id)
            case "request" if isinstance(flow := args[0], HTTPFlow):
                self._uploading.discard(flow.id)
            case "responseheaders" if isinstance(flow := args[0], HTTPFlow):
                self._waiting.pop(flow.id, None)
            case "tls_established_client":
                self._handshake_started = None
                self._advanced = True
                self._idle_since = self._time()
                client = getattr(args[0], "conn", None)
                self._multiplexed = getattr(client, "alpn", None) == b"h2"

    def after_hook(self, name: str, args: tuple[object, ...]) -> None:
        match name:
            case "request" if isinstance(flow := args[0], HTTPFlow):
                if flow.response is None and flow.id in self.live:
                    self._waiting[flow.id] = self._time()
            case "response" if isinstance(flow := args[0], HTTPFlow):
                self._websocket = flow.websocket is not None
                if not self._websocket:
                    self._end(flow)
            case "error" | "websocket_end" if isinstance(flow := args[0], HTTPFlow):
                self._end(flow)

    def uploading(self, flow: HTTPFlow, *, over: bool) -> None:
        """A request goes on to its server before it is complete; ``over``: now it is."""
        if flow.id not in self.live:
            return
        if not over:
            self._waiting.pop(flow.id, None)
            self._window = (self._time(), self._progress())
            self._uploading.add(flow.id)
        else:
            self._uploading.discard(flow.id)
            if flow.response is None:
                self._waiting[flow.id] = self._time()

    def apart(self, flow: HTTPFlow, *, over: bool) -> None:
        """A flow goes on without its client, or does no longer."""
        if over:
            self.parted.discard(flow.id)
            self._idle_since = self._time()
        else:
            self.parted.add(flow.id)
            self._end(flow)

    @property
    def patience(self) -> float:
        """Seconds that a peer may take nothing of a body."""
        return self._timeouts.body_idle

    def _end(self, flow: HTTPFlow) -> None:
        self.live.pop(flow.id, None)
        self._uploading.discard(flow.id)
        self._waiting.pop(flow.id, None)
        self._idle_since = self._time()

    def check(self, now: float, handler: Aborting) -> None:
        """End the connection, or its upstream side, when the current phase took too long."""
        limits = self._timeouts
        if self._handshake_started is not None:
            if now - self._handshake_started > limits.handshake:
                handler.abort(Reason.HANDSHAKE_TIMEOUT)
        elif self._header_started is not None:
            if now - self._header_started > limits.header:
                handler.abort(Reason.HEADER_TIMEOUT)
        elif not self.live:
            if now - self._idle_since > limits.client_idle and not self.parted:
                handler.abort(Reason.IDLE_TIMEOUT)
        elif self.hooks_running == 0 and not self.busy():
            self._check_live(now, handler)

    def _check_live(self, now: float, handler: Aborting) -> None:
        limits = self._timeouts
        idle = now - self._last_activity
        if self._waiting and now - min(self._waiting.values()) > limits.response and idle > min(limits.response, 1.0):
            handler.drop_servers(Reason.UPSTREAM_TIMEOUT)
        elif idle > (limits.tunnel_idle if self._websocket else limits.body_idle) and not self._waiting:
            if self._uploading:
                handler.abort(Reason.BODY_TIMEOUT)
            else:
                handler.drop_servers(Reason.UPSTREAM_TIMEOUT)
        elif self._uploading:
            self._check_rate(now, handler)

    def _progress(self) -> int:
        return self.body_octets() if self._multiplexed and self.body_octets is not None else self._received

    def _check_rate(self, now: float, handler: Aborting) -> None:
        """A body that drips is a slow attack (slowloris in its POST form): every full window must reach the minimum rate."""
        started, received = self._window
        if now - started < self._timeouts.body_idle:
            return
        progress = self._progress()
        self._window = (now, progress)
        if progress - received < self._timeouts.min_body_rate * (now - started):
            handler.abort(Reason.BODY_TIMEOUT, "body slower than min_body_rate")


def never() -> bool:
    return False
