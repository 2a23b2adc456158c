"""The names of our ICAP server's processes and of their sockets, and its unix socket."""

import contextlib
import socket
import stat
from pathlib import Path

from appliance.config.icap_listen import IcapUnixListen
from appliance.config.root import AppConfig

PLAIN, TLS, UNIX = "icap", "icap_tls", "icap_unix"


def process_names(config: AppConfig) -> list[str]:
    """The ICAP server's processes, as health files name them."""
    count = config.icap_server.workers if config.icap_server is not None else 0
    return [process_name(index, count) for index in range(count)]


def process_name(index: int, count: int) -> str:
    return "icap" if count == 1 else f"icap-{index}"


def bind_unix(node: IcapUnixListen) -> socket.socket:
    """A unix socket with its mode, in the place of one that nobody listens on any more. It does not listen yet.

    Raises:
        OSError: somebody listens there, something else than a socket is there, or the folder does not let us.
    """
    _make_room(node.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(node.path))
        node.path.chmod(int(node.mode, 8))  # before it listens: until then nobody can connect, whatever the umask was
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
