"""Listening addresses: free, ours, or somebody else's."""

import errno
import fcntl
import socket
from collections.abc import Iterator

from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.doctor.finding import Finding, fail, ok
from appliance.domain.target import Target


def examine(config: AppConfig) -> Iterator[Finding]:
    running = is_running(config)
    for name, address in _addresses(config):
        yield _examine(f"port of {name}", address, running)


def is_running(config: AppConfig) -> bool:
    """Whether an appliance holds the lock on this state directory."""
    try:
        with (StatePaths(config.state_dir).run / "lock").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _addresses(config: AppConfig) -> Iterator[tuple[str, Target]]:
    for server in config.server:
        yield f"server {server.name}", server.listen.address
    if config.icap_server is not None:
        for key, listen in config.icap_server.listens.items():
            yield f"icap_server.{key}".removesuffix(".listen"), listen.address
    if config.admin is not None:
        yield "admin", config.admin.listen.address


def _examine(what: str, address: Target, running: bool) -> Finding:
    error = try_bind(address)
    if error is None:
        return (
            fail(what, f"{address} is free, although the appliance runs", "see its log")
            if running
            else ok(what, f"{address} is free")
        )
    if error.errno == errno.EADDRINUSE:
        if running:
            return ok(what, f"{address} is in use, and the appliance runs")
        return fail(what, f"{address} is in use by another program", "stop it, or choose another port")
    return fail(what, f"{address}: {error.strerror}", "choose an address of this machine, and a port that this user may bind")


def try_bind(address: Target) -> OSError | None:
    """None when the address could be listened on just now."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address.host, address.port))
            sock.listen(1)
    except OSError as error:
        return error
    return None
