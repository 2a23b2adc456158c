"""The proxies that meet the bad servers: explicit ones on loopback ports, each believing the same roots."""

import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import arcus_config, squid_config
from bench.contenders import SQUID_HELPERS, TOOLS, arcus_command
from bench.processes import call, running
from tests.ports import free_port

_INTERCEPTION = {
    "upstream_certificates": {"revocation": {"ocsp": "soft", "crl": "soft"}, "fetch": {"networks": ["127.0.0.0/8"]}},
}


@dataclass(frozen=True, slots=True)
class Proxy:
    """``ca`` is the certificate below which its leaves are."""

    name: str
    port: int
    ca: Path


@contextlib.contextmanager
def mitmdump(base: Path, roots: Path, _hosts: Sequence[str]) -> Iterator[Proxy]:
    """As installed; told only whom to believe."""
    folder, port = _folder(base, "mitmdump"), free_port()
    command = [str(TOOLS / "mitmdump"), "-q", "--listen-host", "127.0.0.1", "--listen-port", str(port)]
    command += ["--set", f"confdir={folder}", "--set", f"ssl_verify_upstream_trusted_ca={roots}"]
    with running(command, folder / "log") as program:
        program.wait_until(lambda: _listens(port), "mitmdump")
        yield Proxy("mitmdump", port, folder / "mitmproxy-ca-cert.pem")


@contextlib.contextmanager
def squid(base: Path, roots: Path, _hosts: Sequence[str]) -> Iterator[Proxy]:
    """ssl-bump of everything, as in its own instructions; told only whom to believe."""
    folder, port = _folder(base, "squid"), free_port()
    squid_config.write_explicit(folder, port, roots)
    call([str(SQUID_HELPERS / "security_file_certgen"), "-c", "-s", str(folder / "certificates"), "-M", "16MB"])
    call(["chown", "-R", "proxy:proxy", str(folder)])
    command = ["squid", "-N", "-n", "benchtls", "-f", str(folder / "squid.conf")]
    with running(command, folder / "out.log") as program:
        program.wait_until(lambda: _listens(port), f"squid (see {folder}/cache.log)")
        yield Proxy("squid", port, folder / "signing.pem")


@contextlib.contextmanager
def arcus(base: Path, roots: Path, hosts: Sequence[str]) -> Iterator[Proxy]:
    """Its defaults; told whom to believe, and to ask lists and responders about revocation."""
    folder, port = _folder(base, "arcus"), free_port()
    trust = {"upstream_trust": {"ca_files": [str(roots)], "system_roots": False}}
    listener = {"name": "explicit", "type": "http_proxy", "listen": {"address": f"127.0.0.1:{port}"}}
    document = arcus_config.frame(
        folder / "state",
        dict.fromkeys(hosts, "127.0.0.1"),
        ["127.0.0.0/8", "::1/128"],
        trust | _INTERCEPTION,
        listener,
        free_port(),
    )
    (folder / "bench.yaml").write_text(arcus_config.spelled(document))
    with running([*arcus_command(), "run", "-c", str(folder / "bench.yaml")], folder / "log") as program:
        program.wait_until(lambda: _listens(port), "arcus")
        yield Proxy("arcus", port, folder / "state" / "ca" / "default" / "ca.pem")


def _folder(base: Path, name: str) -> Path:
    folder = base / name
    folder.mkdir()
    return folder


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 2):
        return True
