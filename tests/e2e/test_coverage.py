"""D3 through the whole appliance: whatever happens to a byte, it is in one bucket, and the sums are the counters."""

import contextlib
import http.client
import re
import sqlite3
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import sockets, websocket
from tests.e2e.running import Running, base_config, running, wait_until
from tests.e2e.scanners import RestartableClamd, auditor
from tests.e2e.webserver import WebServer, webserver
from tests.ports import free_port
from tests.servers import EICAR

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

SOURCES = {"small": "127.0.0.2", "head": "127.0.0.3", "relay": "127.0.0.4", "none": "127.0.0.5"}
ROUNDS = 12


class Scene:
    """The appliance, its origin and its scanner. ``expected``: what clients sent and got, by tenant and bucket."""

    def __init__(self, arcus: Running, web: WebServer, scanner: RestartableClamd) -> None:
        self.arcus, self.web, self.scanner = arcus, web, scanner
        self.expected: Counter[tuple[str, str]] = Counter()

    def expect(self, tenant: str, **sizes: int) -> None:
        for name, size in sizes.items():
            direction, _, place = name.partition("__")
            self.expected[tenant, f"{direction}: {place.replace('__', ' ')}"] += size

    def client(self, tenant: str) -> http.client.HTTPConnection:
        """A TLS connection through the appliance, as this tenant."""
        context = ssl.create_default_context(cafile=str(self.web.ca_file if tenant == "relay" else self.arcus.ca()))
        source = (SOURCES[tenant], 0) if tenant in SOURCES else None
        made = http.client.HTTPSConnection(
            "127.0.0.1", self.arcus.port("explicit"), timeout=30, context=context, source_address=source
        )
        made.set_tunnel("origin.test", self.web.tls_port)
        return made

    def events(self) -> list[dict[str, Any]]:
        return self.arcus.events()


def fetch(client: http.client.HTTPConnection, path: str, body: bytes | None = None) -> tuple[int, int]:
    """Status, and bytes of the body."""
    client.request("GET" if body is None else "POST", path, body)
    answer = client.getresponse()
    return answer.status, len(answer.read())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Scene]:
    directory = tmp_path
    icap = free_port()
    own = (f"icap://127.0.0.1:{icap}/reqmod", f"icap://127.0.0.1:{icap}/respmod")
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(webserver(directory))
        scanner = stack.enter_context(RestartableClamd())
        passing = {"icap_on_error": "bypass", "icap_health": None}
        auditors = [
            auditor("inspect", web, *own, event_stream="bypass", websocket="bypass", **passing),
            auditor("small", web, *own, max_scan_size="64K", oversize="bypass"),
            auditor("head", web, *own, max_scan_size="64K", oversize="head"),
            auditor("relay", web, *own),
            auditor("none", web, *own),
        ]
        auditors[3]["tls_interception"] |= {"default_action": "splice"}
        del auditors[4]["icap_reqmod_service"], auditors[4]["icap_respmod_service"]
        default = {"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct"}
        others = [
            default | {"tenant_id": name, "auditor": name, "match": {"networks": [f"{ip}/32"]}} for name, ip in SOURCES.items()
        ]
        made = base_config(
            directory / "state",
            auditor=auditors,
            tenant=[default, *others],
            verdict_cache={"enabled": False},
            icap_server={
                "listen": {"address": f"127.0.0.1:{icap}"},
                "scanner": {"type": "clamd", "tcp": f"127.0.0.1:{scanner.port}"},
            },
        )
        arcus = stack.enter_context(running(made, directory))
        yield Scene(arcus, web, scanner)


def _warmed_up(place: Scene) -> int:
    """Until the scanner judges: a tenant that passes nothing unscanned gets a page until then."""
    client = place.client("small")
    for tasks in range(1, 600):
        status, size = fetch(client, "/bytes/5/warm")
        place.expect("small", **{"response__scanned" if status == 200 else "response__own": size})
        if status == 200:
            client.close()
            return tasks
        client.close()
        time.sleep(0.1)
    raise AssertionError("the scanner never judged")


def _scanned(place: Scene) -> int:
    client, tasks = place.client("default"), 0
    for turn in range(ROUNDS):
        for size in (0, 1, 1000 + turn, 300_000 + turn):
            assert fetch(client, f"/bytes/{size}/scanned") == (200, size)
            place.expect("default", response__scanned=size)
            tasks += 1
        body = b"x" * (500 + turn)
        status, got = fetch(client, "/up/scanned", body)
        assert status == 200
        place.expect("default", request__scanned=len(body), response__scanned=got)
        tasks += 1
    client.close()
    return tasks


def _limited(place: Scene) -> int:
    """Too big: passed, or scanned at its head."""
    tasks = 0
    for tenant, beyond in (("small", 0), ("head", 65536)):
        client = place.client(tenant)
        for turn in range(ROUNDS):
            size = 70_000 + turn
            assert fetch(client, f"/bytes/{size}/large") == (200, size)
            assert fetch(client, f"/bytes/{turn + 10}/small") == (200, turn + 10)
            word = "response__not_scanned__head_only" if beyond else "response__not_scanned__too_large"
            place.expect(tenant, response__scanned=beyond + turn + 10, **{word: size - beyond})
            tasks += 2
        client.close()
    return tasks


def _unserved(place: Scene) -> int:
    client = place.client("none")
    for turn in range(ROUNDS):
        body = b"y" * (turn + 1)
        status, got = fetch(client, "/up/none", body)
        assert status == 200
        place.expect("none", request__not_scanned__no_service=len(body), response__not_scanned__no_service=got)
    client.close()
    return ROUNDS


def _blocked(place: Scene) -> int:
    for _ in range(ROUNDS):
        up, down = place.client("default"), place.client("default")
        status, page = fetch(up, "/up/eicar", EICAR)
        assert status == 403
        place.expect("default", request__blocked=len(EICAR), response__own=page)
        status, page = fetch(down, "/eicar/down")
        assert status == 403
        place.expect("default", response__own=page)
        up.close()
        down.close()
    return 2 * ROUNDS


def _streams(place: Scene) -> int:
    for _ in range(ROUNDS):
        client = place.client("default")
        status, size = fetch(client, "/sse")
        assert status == 200
        place.expect("default", response__not_scanned__streamed=size)
        client.close()
    return ROUNDS


def _websockets(place: Scene) -> int:
    """Frames of the client have a head of 6 octets, those of the server of 2; a close is an empty message with a code."""
    for turn in range(ROUNDS):
        authority = f"origin.test:{place.web.tls_port}"
        tunnel = sockets.connect(place.arcus.port("explicit"), authority)
        client = websocket.Client(sockets.tls(tunnel, "origin.test", place.arcus.ca()), authority, "/ws")
        message = b"z" * (turn + 1)
        assert [client.ask(message) for _ in range(3)] == [message] * 3
        client.close()
        client.sock.close()
        sent, got = 3 * (6 + turn + 1) + 8, 3 * (2 + turn + 1) + 4
        place.expect("default", request__not_scanned__websocket=sent, response__not_scanned__websocket=got)
    return ROUNDS


def _relayed(place: Scene) -> int:
    """The origin cannot tell how many octets TLS took: the record's own counters stand for them."""
    for turn in range(ROUNDS):
        client = place.client("relay")
        assert fetch(client, f"/bytes/{1000 + turn}/relay") == (200, 1000 + turn)
        client.close()
    return ROUNDS


def _sums(event: dict[str, Any]) -> dict[str, int]:
    sums = {"request": 0, "response": 0}
    for name, size in event.get("coverage", {}).items():
        sums[name.partition(": ")[0]] += size
    return sums


def _table(place: Scene) -> Counter[tuple[str, str, str]]:
    with contextlib.closing(sqlite3.connect(f"file:{place.arcus.state / 'audit.db'}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT tenant_id, host, direction, bucket, why, bytes FROM coverage").fetchall()
    found: Counter[tuple[str, str, str]] = Counter()
    for tenant, host, direction, bucket, why, size in rows:
        found[tenant, host, f"{direction}: {bucket} {why}".strip()] += size
    return found


def _metric(place: Scene, name: str) -> Counter[str]:
    """By tenant."""
    text = place.arcus.curl(f"http://127.0.0.1:{place.arcus.admin_port}/metrics", via=None).body.decode()
    found: Counter[str] = Counter()
    for labels, value in re.findall(rf"^{name}{{([^}}]*)}} (\S+)$", text, re.MULTILINE):
        found[re.search('tenant="([^"]*)"', labels)[1]] += int(float(value))  # type: ignore[index]
    return found


def test_d3_every_byte_is_in_one_bucket_and_a_stopped_scanner_moves_them_at_once(place: Scene) -> None:
    tasks = sum(step(place) for step in (_warmed_up, _scanned, _limited, _unserved, _blocked, _streams, _websockets, _relayed))
    place.scanner.stop()
    client = place.client("default")
    for turn in range(ROUNDS):
        size = 2000 + turn
        assert fetch(client, f"/bytes/{size}/unscanned") == (200, size)
        place.expect("default", response__not_scanned__scan_failed=size)
    client.close()
    tasks += ROUNDS
    assert tasks > 150

    events = wait_until(lambda: found if len(found := place.events()) >= tasks else None, 60, f"{tasks} events")
    assert len(events) == tasks, Counter((event["kind"], event["url"].partition("?")[0]) for event in events)
    for event in events:
        assert _sums(event) == {"request": event["bytes_received"], "response": event["bytes_sent"]}, event

    told: Counter[tuple[str, str]] = Counter()
    relayed: Counter[str] = Counter()
    for event in events:
        for name, size in event.get("coverage", {}).items():
            if event["kind"] == "tunnel":
                assert name in ("request: spliced default", "response: spliced default")
                relayed[name] += size
            else:
                told[event["tenant_id"], name] += size
    assert told == +place.expected
    assert relayed["response: spliced default"] > sum(1000 + turn for turn in range(ROUNDS))

    folded: Counter[tuple[str, str, str]] = Counter()
    for event in events:
        for name, size in event.get("coverage", {}).items():
            folded[event["tenant_id"], event["destination_host"], name] += size
    wait_until(lambda: _table(place) == folded, 30, "the ledger has every event")

    sizes: Counter[str] = Counter()
    for event in events:
        sizes[event["tenant_id"]] += event["bytes_sent"] + event["bytes_received"]
    wait_until(lambda: _metric(place, "arcus_inspected_bytes_total") == sizes, 30, "the metric has every byte")
    assert _metric(place, "arcus_tenant_bytes_total") == sizes
