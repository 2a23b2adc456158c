"""The accept loop of one listener in one worker.

Caps and the ingress filter come before any byte is parsed; running out of file descriptors pauses accepting instead of
ending it.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from appliance.config.server import IngressFilter, Server
from appliance.domain.hostmatch import NetworkMap
from appliance.domain.reason import Reason
from appliance.domain.target import unmapped
from appliance.tenancy.quota import Slots

logger = logging.getLogger(__name__)

BATCH = 64
"""Connections taken per readiness event, so that a flood of them cannot starve those already open."""
PAUSE = 1.0
"""Seconds without accepting after the process ran out of file descriptors or buffers."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

type Serve = Callable[[socket.socket, tuple[str, int], tuple[str, int]], Coroutine[Any, Any, None]]
type OnRefused = Callable[[str, Reason], None]


class Listener:
    """``refused`` is told of every connection closed before parsing. ``socks``: of one address; there are more than one where
    there were more workers once."""

    def __init__(self, config: Server, socks: Sequence[socket.socket], serve: Serve, refused: OnRefused) -> None:
        self.config = config
        self.socks = tuple(socks)
        self._serve = serve
        self._refused = refused
        self._allows = ingress_filter(config.ingress_network_filter)
        self._per_client = Slots[str]()
        self.tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0

    @property
    def active(self) -> int:
        return len(self.tasks)

    def start(self) -> None:
        for sock in self.socks:
            sock.setblocking(False)
            for level, option in ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_NODELAY)):
                sock.setsockopt(level, option, 1)  # what is accepted inherits them (tcp(7), socket(7))
            self._watch(sock)

    def stop(self) -> None:
        """Accept nothing more; open connections go on."""
        for sock in self.socks:
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()

    def _watch(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0:
            asyncio.get_running_loop().add_reader(sock.fileno(), self._readable, sock)

    def _readable(self, listening: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                sock, peer = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._accept_failed(listening, error)
                return
            self._admit(sock, peer[:2])

    def _accept_failed(self, listening: socket.socket, error: OSError) -> None:
        logger.error("accept on %s failed: %s", self.config.name, error)
        if error.errno in _EXHAUSTED:
            self._refused("", Reason.RESOURCE_EXHAUSTED)
            loop = asyncio.get_running_loop()
            loop.remove_reader(listening.fileno())
            loop.call_later(PAUSE, self._watch, listening)

    def _admit(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        reason = self._take(peer[0])
        if reason is not Reason.OK:
            sock.close()
            self._refused(peer[0], reason)
            return
        try:
            local = sock.getsockname()[:2]
            sock.setblocking(False)
        except OSError:
            sock.close()  # the client reset before we got to it
            self._per_client.release(peer[0])
            return
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(self._serve(sock, peer, local))
        self.tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, peer[0]))

    def _take(self, ip: str) -> Reason:
        """OK, and the client's share is taken, or why not."""
        if not self._allows(ip):
            return Reason.NETWORK_DENIED
        if len(self.tasks) >= self.config.max_connections:
            return Reason.RESOURCE_EXHAUSTED
        if not self._per_client.acquire(ip, self.config.limits.connections_per_client):
            return Reason.TOO_MANY_CONNECTIONS
        return Reason.OK

    def _ended(self, task: asyncio.Task[None], ip: str) -> None:
        self.tasks.discard(task)
        self._per_client.release(ip)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("connection task failed", exc_info=error)


def ingress_filter(config: IngressFilter) -> Callable[[str], bool]:
    """Longest prefix decides; at equal length deny wins."""
    table = NetworkMap([*((net, False) for net in config.deny), *((net, True) for net in config.allow)])
    default = config.default == "allow"

    def allows(ip: str) -> bool:
        found = table.longest(unmapped(ip))
        return default if found is None else found.value

    return allows


def network_set(networks: list[Any]) -> Callable[[str], bool]:
    """Membership of an address in any of the networks."""
    table = NetworkMap([(net, True) for net in networks])
    return lambda ip: table.longest(unmapped(ip)) is not None


def bind(host: str, port: int, backlog: int, *, reuse_port: bool, transparent: bool = False) -> socket.socket:
    """A TCP socket that listens, unless ``backlog`` is 0. ``[::]`` is dual-stack. Raises OSError with the address in it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        if transparent:
            sock.setsockopt(socket.SOL_IP, _IP_TRANSPARENT, 1)
        sock.bind((host, port))
        if backlog:
            sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return sock


_IP_TRANSPARENT = 19
