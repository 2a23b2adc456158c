"""Real peers for tests: squid and nginx as processes on free ports, a SOCKS5 parent in this process.

Every process is ended by its own id. Each peer keeps what it saw, so that a test asks the other side, not ours.
"""

import asyncio
import contextlib
import ipaddress
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.lifetime import with_us
from tests.ports import free_port

BOOT_SECONDS = 20.0


@dataclass(frozen=True)
class Peer:
    """A running server. ``directory`` holds its configuration and logs."""

    host: str
    port: int
    directory: Path
    tls_port: int = 0

    def log(self, containing: str = "", seconds: float = 5.0) -> list[str]:
        """Lines of the access log with this text; waits for the first, as a log is written after the answer."""
        end = time.monotonic() + seconds
        while True:
            path = self.directory / "access.log"
            lines = [line for line in path.read_text().splitlines() if containing in line] if path.exists() else []
            if lines or time.monotonic() > end:
                return lines
            time.sleep(0.02)


@contextlib.contextmanager
def squid(
    *,
    users: Mapping[str, str] | None = None,
    hosts: Mapping[str, str] | None = None,
    tls: tuple[Path, Path] | None = None,
    extra: str = "",
) -> Iterator[Peer]:
    """A caching-free squid that forwards everything, to loopback too.

    ``users`` asks for Basic credentials, ``hosts`` are names only it knows, ``tls`` (certificate with chain, key) opens
    ``tls_port``, ``extra`` is configuration placed before the defaults. A log line is: client, method, URI, status, user,
    and the Proxy-Authorization field as received.
    """
    with contextlib.ExitStack() as stack:
        try:
            peer = stack.enter_context(_squid(users, hosts, tls, extra))
        except StartError:  # once more: somebody else took a port in between
            peer = stack.enter_context(_squid(users, hosts, tls, extra))
        yield peer


@contextlib.contextmanager
def _squid(
    users: Mapping[str, str] | None, hosts: Mapping[str, str] | None, tls: tuple[Path, Path] | None, extra: str
) -> Iterator[Peer]:
    name = "t" + secrets.token_hex(6)  # of its shared memory, and on its error pages
    with _directory() as directory:
        port, tls_port = free_port(), free_port() if tls else 0
        (directory / "hosts").write_text("".join(f"{ip} {name}\n" for name, ip in (hosts or {}).items()))
        auth = _squid_auth(directory, users)
        conf = extra + auth + _squid_conf(directory, name, port) + _squid_tls(directory, tls, tls_port)
        (directory / "squid.conf").write_text(conf)
        for path in directory.iterdir():
            path.chmod(0o644)  # squid reads them as another user, whatever our umask is
        command = ["squid", "-N", "-n", name, "-f", str(directory / "squid.conf")]
        # squid takes a second to stop and has nothing to lose; its helpers end with it
        try:
            with _process(command, directory, lambda: _is_squid(name, port), signal.SIGKILL):
                yield Peer("127.0.0.1", port, directory, tls_port)
        finally:
            for segment in Path("/dev/shm").glob(f"{name}-*"):
                segment.unlink()


def _is_squid(name: str, port: int) -> bool:
    """Whether this squid, and no other server, answers there; it refuses what has no host."""
    with socket.create_connection(("127.0.0.1", port), 2) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return f" {name}.test ".encode() in answer


def _squid_conf(directory: Path, name: str, port: int) -> str:
    return f"""
http_port 127.0.0.1:{port}
http_access {"allow authed" if (directory / "passwd").exists() else "allow all"}
http_access deny all
logformat seen %>a %rm %ru %>Hs %[un "%{{Proxy-Authorization}}>h"
access_log stdio:{directory}/access.log logformat=seen
cache_log {directory}/cache.log
pid_filename {directory}/squid.pid
coredump_dir {directory}
hosts_file {directory}/hosts
visible_hostname {name}.test
cache deny all
cache_mem 1 MB
max_filedescriptors 1024
buffered_logs off
pinger_enable off
netdb_filename none
icp_port 0
shutdown_lifetime 0 seconds
connect_timeout 3 seconds
forward_max_tries 1
"""


def _squid_auth(directory: Path, users: Mapping[str, str] | None) -> str:
    if not users:
        return ""
    lines = []
    for user, password in users.items():
        command = ["openssl", "passwd", "-apr1", "-stdin"]
        hashed = subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout.strip()
        lines.append(f"{user}:{hashed}\n")
    (directory / "passwd").write_text("".join(lines))
    return f"""
auth_param basic program /usr/lib/squid/basic_ncsa_auth {directory}/passwd
auth_param basic children 1 startup=1
auth_param basic realm test
acl authed proxy_auth REQUIRED
"""


def _squid_tls(directory: Path, tls: tuple[Path, Path] | None, port: int) -> str:
    if tls is None:
        return ""
    for source, name in zip(tls, ("tls.pem", "tls.key"), strict=True):
        shutil.copy(source, directory / name)
    return f"https_port 127.0.0.1:{port} tls-cert={directory}/tls.pem tls-key={directory}/tls.key\n"


@contextlib.contextmanager
def nginx(
    *,
    host: str = "127.0.0.1",
    tls: tuple[Path, Path] | None = None,
    http2: bool = False,
    server: str = "",
    port: int = 0,
) -> Iterator[Peer]:
    """An origin. Answers 200 with ``seen from ADDRESS`` unless ``server`` (directives for the server block) says otherwise;
    TLS on ``port`` when ``tls`` is given. A log line is: client, request line, status, Host, Proxy-Authorization as received.
    """
    with _directory() as directory:
        port = port or free_port(host)
        listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        options = (" ssl" if tls else "") + (" http2" if http2 else "")
        certificate = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else ""
        default = 'location / { default_type text/plain; return 200 "seen from $remote_addr\\n"; }'
        (directory / "nginx.conf").write_text(
            _nginx_conf(directory, f"listen {listen}{options}; {certificate} {server or default}")
        )
        command = ["nginx", "-p", str(directory), "-c", str(directory / "nginx.conf"), "-e", str(directory / "error.log")]
        with _process(command, directory, lambda: _listens(host, port)):
            yield Peer(host, port, directory, port if tls else 0)


def _nginx_conf(directory: Path, server: str) -> str:
    temporary = "\n".join(
        f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
daemon off;
worker_processes 1;
user root;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 512; }}
http {{
  {temporary}
  log_format seen '$remote_addr "$request" $status "$http_host" "$http_proxy_authorization"';
  access_log {directory}/access.log seen;
  client_max_body_size 0;
  server {{ {server} }}
}}
"""


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """A folder that servers may write to after they give up root."""
    directory = Path(tempfile.mkdtemp(prefix="peer-"))
    directory.chmod(0o777)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class StartError(RuntimeError):
    """A server that ended, or did not answer in time; the text has its logs."""


@contextlib.contextmanager
def _process(
    command: list[str], directory: Path, ready: Callable[[], bool], stop: signal.Signals = signal.SIGTERM
) -> Iterator[None]:
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(with_us(*command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=directory)
    try:
        _wait_until(ready, process, directory)
        yield
        if process.poll() is not None:
            raise RuntimeError(f"{command!r} ended by itself with {process.returncode}:\n{_logs(directory)}")
    finally:
        process.send_signal(stop)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", directory: Path) -> None:
    end = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.02)
    raise StartError(f"{process.args!r} did not start (status {process.returncode}):\n{_logs(directory)}")


def _listens(host: str, port: int) -> bool:
    with socket.create_connection((host, port), 0.5):
        return True


def _logs(directory: Path) -> str:
    return "\n".join(path.read_text() for name in ("output", "cache.log", "error.log") if (path := directory / name).exists())


@dataclass
class SocksParent:
    """What a SOCKS5 parent was asked for: the address type on the wire, the host, the port, the user."""

    host: str
    port: int
    requests: list[tuple[int, str, int, str]] = field(default_factory=list)


@contextlib.asynccontextmanager
async def socks5_parent(
    *, users: Mapping[str, str] | None = None, hosts: Mapping[str, str] | None = None, reply: int = 0
) -> AsyncIterator[SocksParent]:
    """A SOCKS5 server (RFC 1928, RFC 1929) that relays. ``hosts`` are names only it knows; ``reply`` refuses with this code."""
    server = _SocksServer(dict(users or {}), dict(hosts or {}), reply)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.parent = SocksParent(*listening.sockets[0].getsockname()[:2])
    try:
        yield server.parent
    finally:
        listening.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)


class _SocksServer:
    def __init__(self, users: dict[str, str], hosts: dict[str, str], reply: int) -> None:
        self.users, self.hosts, self.reply = users, hosts, reply
        self.parent = SocksParent("", 0)
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.tasks.add(task)
        try:
            await self._conversation(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.transport.abort()

    async def _conversation(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        offered = await reader.readexactly(count)
        method = 2 if self.users else 0
        if method not in offered:
            writer.write(b"\x05\xff")
            await writer.drain()
            return
        writer.write(bytes([5, method]))
        user = await self._authenticate(reader, writer) if method else ""
        if user is None:
            return
        host, port = await self._request(reader, user)
        writer.write(bytes([5, self.reply, 0, 1]) + bytes(6))
        if self.reply == 0:
            await self._relay(reader, writer, self.hosts.get(host, host), port)
        await writer.drain()

    async def _authenticate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        _, length = await reader.readexactly(2)
        user = (await reader.readexactly(length)).decode()
        password = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        good = self.users.get(user) == password
        writer.write(bytes([1, 0 if good else 1]))
        await writer.drain()
        return user if good else None

    async def _request(self, reader: asyncio.StreamReader, user: str) -> tuple[str, int]:
        _, _, _, kind = await reader.readexactly(4)
        size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        raw = await reader.readexactly(size)
        host = raw.decode() if kind == 3 else str(ipaddress.ip_address(raw))
        port = int.from_bytes(await reader.readexactly(2))
        self.parent.requests.append((kind, host, port, user))
        return host, port

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, far_writer))
                group.create_task(_pump(far_reader, writer))
        finally:
            far_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
