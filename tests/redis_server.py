"""A real redis-server for tests: its own port, nothing on disk, and every way to fail."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import redis
import trustme

from tests.lifetime import with_us
from tests.ports import free_port

PROGRAM = "redis-server"


@dataclass
class RedisProcess:
    """``options`` are redis-server's own, without their dashes."""

    directory: Path
    options: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(self.directory)}
        command = [
            PROGRAM,
            *(word for name, value in (options | self.options).items() for word in (f"--{name}", *value.split(" "))),
        ]
        self.process = subprocess.Popen(with_us(*command), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server ended with {self.process.poll()}")
            time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, which: signal.Signals) -> None:
        if self.process is not None:
            os.kill(self.process.pid, which)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def client(self, **options: object) -> "redis.Redis[bytes]":
        """To look into it, and to meddle."""
        return redis.Redis(port=self.port, **options)  # type: ignore[call-overload]

    def everything(self) -> bytes:
        """All keys and values."""
        with self.client() as client:
            keys = [key for key in client.scan_iter() if client.type(key) == b"string"]
            return b"\n".join(part for key in keys for part in (key, client.get(key) or b""))


@contextlib.contextmanager
def redis_server(directory: Path, **options: str) -> Iterator[RedisProcess]:
    server = RedisProcess(directory, {name.replace("_", "-"): value for name, value in options.items()})
    server.start()
    try:
        yield server
    finally:
        server.kill()


def tls_options(directory: Path, ca: trustme.CA, port: int) -> dict[str, str]:
    """What makes it listen for TLS on ``port``, with a certificate for 127.0.0.1."""
    leaf = ca.issue_cert("127.0.0.1")
    certificate, key, roots = directory / "redis.pem", directory / "redis.key", directory / "roots.pem"
    leaf.cert_chain_pems[0].write_to_path(str(certificate))
    leaf.private_key_pem.write_to_path(str(key))
    ca.cert_pem.write_to_path(str(roots))
    return {
        "tls_port": str(port), "tls_cert_file": str(certificate), "tls_key_file": str(key),
        "tls_ca_cert_file": str(roots), "tls_auth_clients": "no",
    }  # fmt: skip
