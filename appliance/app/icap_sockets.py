"""The sockets of our ICAP server's processes, and their names."""

import contextlib
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from appliance.config.icap_listen import IcapUnixListen
from appliance.config.icap_server import IcapServer
from appliance.config.root import AppConfig
from appliance.config.values import Listen
from appliance.domain.errors import Problem
from appliance.engine.listener import bind
from appliance.engine.supervisor import Child

PLAIN, TLS, UNIX = "icap", "icap_tls", "icap_unix"


def process_names(config: AppConfig) -> list[str]:
    """The ICAP server's processes, as health files name them."""
    count = config.icap_server.workers if config.icap_server is not None else 0
    return [process_name(index, count) for index in range(count)]


def process_name(index: int, count: int) -> str:
    return "icap" if count == 1 else f"icap-{index}"


def icap_children(config: AppConfig, problems: list[Problem]) -> list[Child]:
    """A child for each worker, its sockets bound; none, and ``problems`` longer, when an address cannot be had.

    TCP ports are shared by SO_REUSEPORT, each worker with a queue of its own; a unix socket has one queue, which all of them
    take from.
    """
    node = config.icap_server
    if node is None:
        return []
    count = len(problems)
    first = dict(_first(node, problems))
    if len(problems) > count:
        for sock in first.values():
            sock.close()
        return []
    return [Child("icap", index, config, first if not index else _more(node, first)) for index in range(node.workers)]


def _first(node: IcapServer, problems: list[Problem]) -> Iterator[tuple[str, socket.socket]]:
    for name, where, listen in _tcp(node):
        try:
            bind(listen.address.host, listen.address.port, 1, reuse_port=False).close()  # nobody else's port, not even shared
            yield name, _bind(listen, listen.address.port)
        except OSError as error:
            problems.append(Problem(f"{error.args[1]} (stop what uses it, or choose another port)", where))
    if node.unix is not None:
        try:
            yield UNIX, bind_unix(node.unix, node.listen.backlog)
        except OSError as error:
            problems.append(Problem(f"cannot listen on {node.unix.path}: {error.strerror or error}", "icap_server.unix"))


def _more(node: IcapServer, first: dict[str, socket.socket]) -> dict[str, socket.socket]:
    sockets = {name: _bind(listen, first[name].getsockname()[1]) for name, _, listen in _tcp(node)}
    return sockets | ({UNIX: first[UNIX]} if UNIX in first else {})


def _tcp(node: IcapServer) -> list[tuple[str, str, Listen]]:
    found = [(PLAIN, "icap_server.listen", node.listen)]
    return found + ([(TLS, "icap_server.tls.listen", node.tls.listen)] if node.tls is not None else [])


def _bind(listen: Listen, port: int) -> socket.socket:
    return bind(listen.address.host, port, listen.backlog, reuse_port=True)


def bind_unix(node: IcapUnixListen, backlog: int) -> socket.socket:
    """A listening unix socket with its mode, in the place of one that nobody listens on any more.

    Raises:
        OSError: somebody listens there, something else than a socket is there, or the folder does not let us.
    """
    _make_room(node.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(node.path))
        node.path.chmod(int(node.mode, 8))  # before it listens: until then nobody can connect, whatever the umask was
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _make_room(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OSError("something else than a socket is there")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise OSError("another process listens there")
