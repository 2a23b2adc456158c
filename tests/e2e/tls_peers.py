"""TLS peers with one peculiarity each: s_server, nginx, s_client, and sockets that break the rules."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.origins import Authority
from tests.e2e.running import wait_until
from tests.lifetime import with_us
from tests.ports import free_port


@contextlib.contextmanager
def s_server(authority: Authority, *options: str, name: str = "origin.test") -> Iterator[int]:
    """`openssl s_server` that answers HTTP; gives its port."""
    certificate, key = authority.files(name)
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(certificate), "-key", str(key)]
    with _process([*command, "-cert_chain", str(certificate), "-www", "-quiet", *options], port):
        yield port


@contextlib.contextmanager
def nginx(authority: Authority, directory: Path, *lines: str, name: str = "origin.test") -> Iterator[int]:
    """nginx with TLS; ``lines`` go into its server block."""
    certificate, key = authority.files(name)
    directory.mkdir(exist_ok=True)
    port = free_port()
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    server = f"listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; {' '.join(lines)}"
    (directory / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log;\n"
        f"events {{}}\nhttp {{ {temporary} access_log off; server {{ {server} return 200 'ok'; }} }}\n"
    )
    command = ["nginx", "-c", str(directory / "nginx.conf"), "-p", str(directory), "-e", str(directory / "error.log")]
    with _process(command, port):
        yield port


@contextlib.contextmanager
def _process(command: list[str], port: int) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    environment = {"PATH": "/usr/sbin:/usr/bin:/bin", "OPENSSL_CONF": "/dev/null"}  # the system file forbids old versions
    process = subprocess.Popen(with_us(*command), stdin=quiet, stdout=quiet, stderr=quiet, env=environment)
    try:
        wait_until(lambda: _listens(port), 15, f"{command[0]} listens")
        yield
    finally:
        process.kill()
        process.wait(10)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def speaker(reply: bytes) -> Iterator[int]:
    """A server that answers whatever comes first with these bytes, and closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with sock, contextlib.suppress(OSError):
                    sock.settimeout(10)
                    sock.recv(65536)
                    sock.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def s_client(proxy: int, target: str, *options: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """`openssl s_client` through the proxy; ``text`` is what it sends."""
    host = target.rpartition(":")[0]
    command = ["openssl", "s_client", "-proxy", f"127.0.0.1:{proxy}", "-connect", target, "-servername", host, *options]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
