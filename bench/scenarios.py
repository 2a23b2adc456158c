"""What is measured: one row each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.load import Load, cycle_script, h2load, handshakes, wrk, zipf_script
from bench.origin import UNIQUE
from bench.topology import Namespace

OBJECTS = 1000
"""Of which repeated bodies are chosen."""

type Drive = Callable[[Namespace, Path, str, int], Load]
"""Client, a folder for scripts, host and seconds."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """``unit`` is req/s or MB/s (10^6 bytes); ``http2``: only for contenders that speak it."""

    name: str
    title: str
    drive: Drive
    unit: str = "req/s"
    http2: bool = False
    needs: str = ""
    """What a contender may lack, see ``Contender.lacks``."""

    def value(self, load: Load) -> float:
        return load.bytes / 1e6 / load.seconds if self.unit == "MB/s" else load.rate

    def amount(self, load: Load) -> float:
        """What the CPU time is divided into: requests or megabytes."""
        return load.bytes / 1e6 if self.unit == "MB/s" else float(load.requests)


def _wrk(path: str, connections: int, *options: str) -> Drive:
    return lambda client, _, host, seconds: wrk(client, f"https://{host}{path}", connections, seconds, options)


def _h2(path: str, connections: int, streams: int) -> Drive:
    return lambda client, _, host, seconds: h2load(client, f"https://{host}{path}", connections, streams, seconds)


def _handshakes(kind: str, connections: int) -> Drive:
    return lambda client, base, host, seconds: handshakes(client, base, host, kind, connections, seconds)


def _unique(size: str, connections: int) -> Drive:
    def drive(client: Namespace, base: Path, host: str, seconds: int) -> Load:
        script = cycle_script(base, f"/u{size}/", UNIQUE[size][1], 0)
        return wrk(client, f"https://{host}/", connections, seconds, ("-s", str(script)))

    return drive


def _zipf(size: str, connections: int) -> Drive:
    def drive(client: Namespace, base: Path, host: str, seconds: int) -> Load:
        script = zipf_script(base, f"/u{size}/", OBJECTS)
        return wrk(client, f"https://{host}/", connections, seconds, ("-s", str(script)))

    return drive


PLAIN = (
    Scenario("1k", "1 KB, 16 keep-alive connections", _wrk("/1k", 16), needs="anything new"),
    Scenario("1k-c64", "1 KB, 64 keep-alive connections", _wrk("/1k", 64), needs="anything new"),
    Scenario("100k", "100 KB, 16 keep-alive connections", _wrk("/100k", 16), needs="anything new"),
    Scenario("10m", "10 MB, 2 connections", _wrk("/10m", 2), unit="MB/s", needs="anything new"),
    Scenario("tls", "new TLS connection for each 1 KB request", _wrk("/1k", 8, "-H", "Connection: close")),
    Scenario("tls-resume", "the same, and the client resumes its session", _handshakes("resume", 8), needs="resumption"),
    Scenario("tls-cold", "the same, each to a host not seen before", _handshakes("cold", 8), needs="any name"),
    Scenario("h2", "HTTP/2, 1 KB, 4 connections with 8 streams", _h2("/1k", 4, 8), http2=True, needs="anything new"),
)
SCANNED = (
    Scenario("icap-1k", "1 KB, every body scanned", _unique("1k", 16)),
    Scenario("icap-40k", "40 KB, every body scanned", _unique("40k", 16)),
    Scenario("icap-100k", "100 KB, every body scanned", _unique("100k", 16)),
)
REPEATED = (
    Scenario("zipf-1k", "1 KB, Zipf over 1,000 objects", _zipf("1k", 16)),
    Scenario("zipf-40k", "40 KB, Zipf over 1,000 objects", _zipf("40k", 16)),
)
