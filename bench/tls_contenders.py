"""The proxies that meet the bad servers: explicit ones on loopback ports, each believing the same roots."""

import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import squid_config
from bench.contenders import SQUID_HELPERS, TOOLS, arcus_command
from bench.processes import call, running
from tests.ports import free_port

_ARCUS = """\
state_dir: {folder}/state
workers: 1
log: {{level: warning}}
ca:
  - name: default
resolver:
  - name: local
    type: system
    hosts: {{{hosts}}}
escaper:
  - name: direct
    type: direct_fixed
    resolver: local
    egress_network_filter: {{allow: ["127.0.0.0/8", "::1/128"]}}
auditor:
  - name: inspect
    tls_interception:
      upstream_trust: {{ca_files: ["{roots}"], system_roots: false}}
      upstream_certificates:
        revocation: {{ocsp: soft, crl: soft}}
        fetch: {{networks: ["127.0.0.0/8"]}}
tenant:
  - {{tenant_id: default, ca: default, auditor: inspect, escaper: direct}}
server:
  - name: explicit
    type: http_proxy
    listen: {{address: "127.0.0.1:{port}"}}
admin:
  listen: {{address: "127.0.0.1:{admin}"}}
"""

_SQUID = """\
http_port 127.0.0.1:{port} ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=16MB \
tls-cert={folder}/signing.pem
sslcrtd_program /usr/lib/squid/security_file_certgen -s {folder}/certificates -M 16MB
acl step1 at_step SslBump1
ssl_bump peek step1
ssl_bump bump all
tls_outgoing_options cafile={roots}
pid_filename {folder}/squid.pid
cache_effective_user proxy
cache_log {folder}/cache.log
access_log none
cache deny all
cache_mem 8 MB
coredump_dir {folder}
visible_hostname squid.bench.test
hosts_file /etc/hosts
shutdown_lifetime 1 seconds
forward_max_tries 1
connect_timeout 10 seconds
http_access allow all
max_filedescriptors 1024
pinger_enable off
"""


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
    (folder / "squid.conf").write_text(_SQUID.format(port=port, folder=folder, roots=roots))
    (folder / "signing.pem").write_bytes(squid_config.authority())
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
    names = ", ".join(f'"{host}": ["127.0.0.1"]' for host in hosts)
    text = _ARCUS.format(folder=folder, roots=roots, hosts=names, port=port, admin=free_port())
    (folder / "bench.yaml").write_text(text)
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
