"""C7, D3: a file is scanned once for a tenant, the record says so, and a find stays a find."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import scanners
from tests.e2e.counters import counter
from tests.e2e.icap_peers import misbehaving, tap
from tests.e2e.records import record
from tests.e2e.running import running
from tests.e2e.scanners import RestartableClamd, Scanned
from tests.e2e.webserver import webserver
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scanned]:
    directory = tmp_path_factory.mktemp("kept")
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(webserver(directory))
        scanner = stack.enter_context(RestartableClamd())
        icap_port = free_port()
        listening = stack.enter_context(tap(icap_port))
        bad = stack.enter_context(misbehaving())
        made = scanners.config(directory / "state", web, scanner.port, icap_port, listening, "icap://127.0.0.1:1/none", bad)
        made["verdict_cache"] = {"confirm": "5m"}
        appliance = stack.enter_context(running(made, directory))
        yield Scanned(appliance, web, scanner, listening)


def scan(scanned: Scanned, tenant: str, path: str, status: int) -> Any:
    answer = scanned.get(tenant, scanned.web.tls_url + path)
    assert answer.status == status
    event = record(scanned.appliance, path)
    assert event["tenant_id"] == tenant
    return event["scans"][-1]


def test_c7_a_file_is_scanned_once_for_a_tenant(scanned: Scanned) -> None:
    first = scan(scanned, "default", "/eicar/1", 403)
    again = scan(scanned, "default", "/eicar/2", 403)
    other = scan(scanned, "lenient", "/eicar/3", 403)
    assert ("cached" in first, again.get("cached"), "cached" in other) == (False, True, False)
    assert again["signature"] == first["signature"]
    assert again["sha256"] == first["sha256"]
    assert (again["outcome"], again["reason"]) == ("blocked", "malware_found")
    assert again["scan_ms"] == first["ms"]
    assert again["age_s"] > 0
    assert counter(scanned.appliance, "arcus_verdict_cache_total", "hit") >= 1


def test_c7_what_is_not_known_is_not_passed_while_the_scanner_is_down(scanned: Scanned) -> None:
    scan(scanned, "default", "/bytes/1000?before", 200)
    scanned.clamd.stop()
    try:
        assert scan(scanned, "default", "/bytes/1000?known", 200)["cached"]
        answer = scanned.get("default", scanned.web.tls_url + "/bytes/1001?unknown")
        assert answer.status == 503
        assert record(scanned.appliance, "/bytes/1001?unknown")["blocked"]
    finally:
        scanned.clamd.start()
