"""The listening sockets. The parent makes and keeps them, so that neither the death of a child nor a new configuration
closes one that clients may be waiting in."""

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from appliance.app.icap_sockets import PLAIN, TLS, UNIX, bind_unix
from appliance.config.icap_listen import IcapUnixListen
from appliance.config.icap_server import IcapServer
from appliance.config.root import AppConfig
from appliance.config.server import Server, TcpTproxy
from appliance.config.values import Listen
from appliance.domain.errors import ConfigError, Problem
from appliance.engine.listener import bind

type Key = tuple[str, str, bool]
"""What makes two sockets the same: address, name where the kernel chooses the port, and whether it is transparent."""

UNIX_BACKLOG = 1024
MORE = "#"
"""Between a listener's name and a number, for the second and later sockets of one worker."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """``count``: one per worker where the kernel is to share connections out, else 0 for a single one."""

    kind: str
    name: str
    path: str
    listen: Listen | IcapUnixListen
    count: int = 0
    transparent: bool = False

    @property
    def key(self) -> Key:
        if isinstance(self.listen, IcapUnixListen):
            return f"{self.kind} {self.listen.path}", "", False
        address = self.listen.address
        return f"{self.kind} {address}", "" if address.port else self.name, self.transparent

    @property
    def backlog(self) -> int:
        return UNIX_BACKLOG if isinstance(self.listen, IcapUnixListen) else self.listen.backlog


def wanted(config: AppConfig, workers: int) -> Iterator[Wanted]:
    """Every socket that a configuration asks for."""
    for server in config.server:
        path = f"server[{server.name}].listen"
        yield Wanted("worker", server.name, path, server.listen, workers, _transparent(server))
    if config.icap_server is not None:
        yield from _of_icap(config.icap_server)
    if config.admin is not None:
        yield Wanted("admin", "admin", "admin.listen", config.admin.listen)
    if config.demo_origin is not None:
        yield Wanted("demo", "https", "demo_origin.https", config.demo_origin.https)
        yield Wanted("demo", "http", "demo_origin.http", config.demo_origin.http)


def _of_icap(node: IcapServer) -> Iterator[Wanted]:
    """TCP ports are shared by SO_REUSEPORT, each worker with a queue of its own; a unix socket has one queue, which all of them
    take from."""
    for key, listen in node.listens.items():
        yield Wanted("icap", PLAIN if key == "listen" else TLS, f"icap_server.{key}", listen, node.workers)
    if node.unix is not None:
        yield Wanted("icap", UNIX, "icap_server.unix", node.unix)


@dataclass(frozen=True, slots=True)
class Bound:
    """The sockets of one configuration: those that there were, and ``fresh`` ones, which do not listen yet: clients would wait
    in them for workers that may never come."""

    groups: dict[Key, list[socket.socket]]
    fresh: list[socket.socket]
    by_name: dict[tuple[str, str], Key]
    backlogs: dict[Key, int]

    def of(self, kind: str, index: int = 0, workers: int = 1) -> dict[str, socket.socket]:
        """What one child of this kind gets."""
        given: dict[str, socket.socket] = {}
        for (whose, name), key in self.by_name.items():
            if whose == kind:
                group = self.groups[key]
                mine = group[index::workers] if len(group) >= workers else group
                given |= {f"{name}{MORE}{number}" if number else name: sock for number, sock in enumerate(mine)}
        return given

    def listen(self) -> None:
        """Whoever accepts is ready. Raises OSError."""
        for key, socks in self.groups.items():
            for sock in socks:
                sock.listen(self.backlogs[key])  # on one that listens, this changes its backlog and nothing else

    def abandon(self) -> None:
        """Close what was made for a configuration that is not used."""
        for sock in self.fresh:
            sock.close()


class Sockets:
    """Those in use."""

    def __init__(self) -> None:
        self._held: dict[Key, list[socket.socket]] = {}

    def bind(self, config: AppConfig, workers: int) -> Bound:
        """All sockets for a configuration. Those in use are taken over; where there were more workers, so are theirs, because
        clients wait in them.

        Raises:
            ConfigError: an address cannot be had. Nothing has changed.
        """
        bound, problems = Bound({}, [], {}, {}), list[Problem]()
        for each in wanted(config, workers):
            try:
                bound.by_name[each.kind, each.name] = each.key
                bound.backlogs[each.key] = each.backlog
                bound.groups[each.key] = self._group(each, bound.fresh)
            except OSError as error:
                problems.append(Problem(self._cause(each, error), each.path))
        if problems:
            bound.abandon()
            raise ConfigError(problems)
        return bound

    def adopt(self, bound: Bound) -> None:
        """These are in use from now on. The others are closed."""
        for key, socks in self._held.items():
            if key not in bound.groups:
                for sock in socks:
                    sock.close()
        self._held = dict(bound.groups)

    def _group(self, each: Wanted, fresh: list[socket.socket]) -> list[socket.socket]:
        socks = list(self._held.get(each.key, ()))
        listen = each.listen
        if isinstance(listen, IcapUnixListen):
            if not socks:
                socks.append(bind_unix(listen))
                fresh.append(socks[0])
            return socks
        if not socks and each.count and not self._ours(listen):
            _probe(listen)
        while len(socks) < (each.count or 1):
            port = socks[0].getsockname()[1] if socks else listen.address.port
            socks.append(bind(listen.address.host, port, 0, reuse_port=bool(each.count), transparent=each.transparent))
            fresh.append(socks[-1])
        return socks

    def _ours(self, listen: Listen) -> bool:
        """Whether listeners of ours use the port already, on another address."""
        return any(
            sock.getsockname()[1] == listen.address.port
            for (address, _, _), socks in self._held.items()
            if address.startswith(("worker ", "icap "))
            for sock in socks
        )

    def _cause(self, each: Wanted, error: OSError) -> str:
        if isinstance(each.listen, IcapUnixListen):
            return f"cannot listen on {each.listen.path}: {error.strerror or error}"
        return f"{error.args[1]} ({self._hint(each.listen.address.port)})"

    def _hint(self, port: int) -> str:
        if any(sock.getsockname()[1] == port for socks in self._held.values() for sock in socks):
            return "this Arcus itself listens there for something else until now: change one after the other, with two reloads"
        return "stop what uses it, or choose another port"


def shared_out(sockets: Mapping[str, socket.socket], name: str) -> list[socket.socket]:
    """The sockets of one listener among all that a worker got."""
    return [sock for key, sock in sockets.items() if key.partition(MORE)[0] == name]


def _transparent(server: Server) -> bool:
    return isinstance(server, TcpTproxy) and server.mode == "tproxy"


def _probe(listen: Listen) -> None:
    """SO_REUSEPORT would let a second appliance of the same user share our ports without a word."""
    bind(listen.address.host, listen.address.port, 1, reuse_port=False).close()
