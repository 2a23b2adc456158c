"""Parts by themselves, in a fresh process: ``python -O -m bench.micro NAME`` prints one JSON object.

``leaf`` signs for 10,000 different hosts, as the appliance and as mitmproxy do; ``audit`` writes 20,000 records; ``drain``
carries as many from the spool to the event store and the JSON lines, in batches of a fifth of a second at 1,300 requests/s.
"""

import asyncio
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

HOSTS = 10_000
RECORDS = 20_000
type Result = dict[str, float]


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def leaf(folder: Path) -> Result:
    """A leaf for each of 10,000 hosts, all kept."""
    from certs.authority import load_or_create
    from certs.cache import LeafCache
    from certs.profile import LeafProfile

    cache = LeafCache(load_or_create(folder, "bench", "Bench CA", "ec-p256", 365), HOSTS, 86_400.0)

    async def make(host: str) -> None:
        await cache.get(LeafProfile.for_host(host))

    return asyncio.run(_time_leaves(make))


def leaf_mitmproxy(folder: Path) -> Result:
    """mitmproxy's own store. It keeps 100 hosts and forgets the oldest, so its memory says nothing of 10,000."""
    from cryptography import x509
    from mitmproxy.certs import CertStore

    store = CertStore.from_store(folder, "mitmproxy", 2048)

    async def make(host: str) -> None:
        store.get_cert(host, [x509.DNSName(host)])

    return asyncio.run(_time_leaves(make))


async def _time_leaves(make: Callable[[str], Awaitable[None]]) -> Result:
    await make("warm-up.test")
    before, times = resident(), []
    for number in range(HOSTS):
        start = time.perf_counter()
        await make(f"www.host-{number}.test")
        times.append(time.perf_counter() - start)
    return _spread(times) | {"megabytes": (resident() - before) / 1e6, "hosts": HOSTS}


def audit(folder: Path) -> Result:
    """A usual record of a decrypted request: made into an event, encoded and handed to the kernel."""
    from appliance.audit.recorder import Recorder
    from appliance.audit.spool import Spool

    spool = Spool(folder, 0, 1 << 30)
    recorder = Recorder(spool)
    times = []
    for _ in range(RECORDS):
        notes = _notes()
        start = time.perf_counter()
        recorder.record(notes)
        times.append(time.perf_counter() - start)
    size = spool.stats.bytes / spool.stats.records
    spool.close()
    return _spread(times[1000:]) | {"bytes": size}


def drain(folder: Path) -> Result:
    """CPU time of the drain for one record."""
    from appliance.audit.drain import Drain
    from appliance.audit.recorder import Recorder
    from appliance.audit.sinks.lines import JsonLinesSink
    from appliance.audit.sinks.store import StoreSink
    from appliance.audit.spool import Spool
    from appliance.storage.sqlite import SqliteStore

    store = SqliteStore(folder / "audit.db")
    spool = Spool(folder / "spool", 0, 1 << 30)
    recorder, carrier = Recorder(spool), Drain(folder / "spool", [StoreSink(store), JsonLinesSink(folder / "audit.jsonl")])
    spent, done = 0.0, 0
    while done < RECORDS:
        for _ in range(260):
            recorder.record(_notes())
            done += 1
        start = time.process_time()
        carrier.drain_once()
        spent += time.process_time() - start
    spool.close()
    store.close()
    return {"cpu_us": spent / done * 1e6, "bytes_stored": (folder / "audit.db").stat().st_size / done}


def _notes() -> "object":
    from appliance.domain.decision import TlsAction, TlsDecision
    from appliance.domain.facts import ClientFacts, HelloFacts
    from appliance.domain.ids import TenantId
    from appliance.domain.notes import CertNotes, ConnNotes, EscapeNotes, TaskNotes, TlsNotes
    from appliance.domain.target import Target

    now = time.time()
    certificate = CertNotes(
        "a1" * 32, "CN=www.example.com", "CN=Some CA", "0f1e2d3c4b", now - 1e6, now + 1e6, ("www.example.com",)
    )
    tls = TlsNotes("TLSv1.3", "TLS_AES_128_GCM_SHA256", "h2", "www.example.com", verify="ok", certificate=certificate)
    conn = ConnNotes(
        ClientFacts("10.0.0.7", 51_234, "transparent", "10.0.0.1", 8081), started=now, protocol="tproxy",
        tenant=TenantId("bench"), tenant_method="network", tenant_detail="10.0.0.0/8", original_dst="192.0.2.1:443",
        hello=HelloFacts("www.example.com", ("h2", "http/1.1"), (772, 771), has_ech=False, ja3="d" * 32, ja4="t13d"),
        tls_decision=TlsDecision(TlsAction.INTERCEPT, "default", ""), client_tls=tls, server_tls=tls,
    )  # fmt: skip
    return TaskNotes(
        conn, started=now, stage="finished", target=Target("www.example.com", 443), scheme="https", method="GET",
        path="/index.html?page=2&token=secret", http_version="HTTP/2", user_agent="Mozilla/5.0 (X11; Linux x86_64)",
        status=200, upstream_status=200, response_bytes=1024, escaper="direct",
        escape=EscapeNotes(path=("direct",), next_hop="192.0.2.1:443", resolved_ip="192.0.2.1", ms={"connect": 0.4}),
    )  # fmt: skip


def _spread(times: list[float]) -> Result:
    times.sort()
    return {"median_us": statistics.median(times) * 1e6, "p99_us": times[len(times) * 99 // 100] * 1e6}


NAMES: dict[str, Callable[[Path], Result]] = {"leaf": leaf, "leaf-mitmproxy": leaf_mitmproxy, "audit": audit, "drain": drain}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="arcus-bench-micro-") as folder:
        print(json.dumps(NAMES[sys.argv[1]](Path(folder))))


if __name__ == "__main__":
    main()
