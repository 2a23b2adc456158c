"""The proxies that are compared: how each is set up and started in the gateway."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import arcus_config, squid_config
from bench.processes import Program, Usage, call, python, running, total
from bench.scanners import Scanner
from bench.topology import Namespace

TOOLS = Path(sys.executable).parent
SQUID_HELPERS = Path("/usr/lib/squid")


@dataclass(frozen=True, slots=True)
class Site:
    """Where contenders are set up: a folder, the gateway they run in, the origin's CA and every host's address."""

    base: Path
    gateway: Namespace
    origin_ca: Path
    hosts: dict[str, str]


@dataclass(slots=True)
class Contender:
    """``host`` is what a client asks for to get here, ``port`` where its traffic is redirected to (0: nowhere)."""

    name: str
    host: str
    port: int
    http2: bool = True
    lacks: frozenset[str] = frozenset()
    """``resumption`` of clients' sessions; ``any name``: serving names that it cannot resolve itself;
    ``anything new``: a difference from another contender where clients stay connected."""
    programs: list[Program] = field(default_factory=list)

    def usage(self) -> Usage:
        """Everything it runs: workers, helpers, and its virus scanner if it has one."""
        return total([program.usage() for program in self.programs])


@contextlib.contextmanager
def direct(site: Site) -> Iterator[Contender]:
    """No proxy: what the load generator and the origin can do by themselves."""
    yield Contender("direct", "direct.test", 0)


@contextlib.contextmanager
def mitmdump(site: Site) -> Iterator[Contender]:
    """As installed, with nothing set but what makes it run here."""
    folder = _folder(site, "mitmdump")
    port = 8101
    command = [
        str(TOOLS / "mitmdump"), "-q", "--mode", f"transparent@{port}", "--set", f"confdir={folder}",
        "--set", f"ssl_verify_upstream_trusted_ca={site.origin_ca}",
    ]  # fmt: skip
    with running(site.gateway.enter(command), folder / "log") as program:
        program.wait_until(lambda: _listens(site.gateway, port), "mitmdump")
        yield Contender("mitmdump", "mitmdump.test", port, programs=[program])


@contextlib.contextmanager
def squid(site: Site, scanner: Scanner | None = None, *, delay_pool: bool = False) -> Iterator[Contender]:
    """Debian's squid-openssl, one process, ssl-bump of everything, with an access log. ``scanner``: c-icap and clamd."""
    name = "squid" if scanner is None else "squid_delay" if delay_pool else "squid_icap"
    folder, port = _folder(site, name), {"squid": 8102, "squid_icap": 8112, "squid_delay": 8122}[name]
    squid_config.write(folder, port, site.origin_ca, scanner.uri if scanner else None, delay_pool=delay_pool)
    helper = str(SQUID_HELPERS / "security_file_certgen")
    call([helper, "-c", "-s", str(folder / "certificates"), "-M", "16MB"])
    call(["chown", "-R", "proxy:proxy", str(folder)])
    command = ["squid", "-N", "-n", f"bench{name.replace('_', '')}", "-f", str(folder / "squid.conf")]
    with running(site.gateway.enter(command), folder / "out.log") as program:
        program.wait_until(lambda: _listens(site.gateway, port), f"squid (see {folder}/cache.log)")
        extra = list(scanner.programs) if scanner else []
        lacks = frozenset({"resumption", "any name"})
        yield Contender(name, f"{name.replace('_', '-')}.test", port, http2=False, lacks=lacks, programs=[program, *extra])


@contextlib.contextmanager
def arcus(
    site: Site, workers: int, clamd: Scanner | None = None, *, kept: bool = False, fresh: bool = False
) -> Iterator[Contender]:
    """``arcus run`` with a tenant, policies, the audit log and the pages. ``clamd``: it scans by it.
    ``kept``: verdicts are kept, as they are by default; otherwise every body is scanned. ``fresh``: every connection of a
    client has one of its own to the server, as stock mitmdump does it (``kept_connections`` off)."""
    if clamd is None:
        name, number = ("arcus_fresh", 7) if fresh else (f"arcus_{workers}", workers)
    else:
        name, number = ("arcus_kept", 8) if kept else ("arcus_icap", 9)
    folder, port = _folder(site, name), 8200 + number
    socket = clamd.socket if clamd else None
    text = arcus_config.text(folder, number, workers, site.origin_ca, site.hosts, socket, kept=kept, fresh=fresh)
    configuration = folder / "bench.yaml"
    configuration.write_text(text)
    command = [*arcus_command(), "run", "-c", str(configuration)]
    with running(site.gateway.enter(command), folder / "log") as program:
        program.wait_until(lambda: _listens(site.gateway, port), "arcus")
        extra = list(clamd.programs) if clamd else []
        lacks = frozenset({"anything new", "any name"}) if fresh else frozenset[str]()
        yield Contender(name, f"{name.replace('_', '-')}.test", port, lacks=lacks, programs=[program, *extra])


def arcus_command() -> list[str]:
    installed = TOOLS / "arcus"
    return [str(installed)] if installed.exists() else python("appliance.cli")


def _folder(site: Site, name: str) -> Path:
    """A new one at each start, so that nothing of an earlier run is warm."""
    number = sum(1 for each in site.base.iterdir() if each.name.startswith(f"{name}-"))
    folder = site.base / f"{name}-{number}"
    folder.mkdir()
    return folder


def _listens(gateway: Namespace, port: int) -> bool:
    return bool(gateway.call("ss", "-Hltn", f"sport = :{port}").strip())
