"""Thousands of ICAP transactions with a service that fails in every way it can, by chance.

The service keeps its own list of what it found clean, so that "scanned" is not taken from the records that are under test.
As many transactions as wanted: ``ARCUS_TRANSACTIONS=10000 pytest tests/faults/test_icap_storm.py``.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.load import HUNG, Job, Load, Outcome
from tests.e2e.records import Event, SpoolWitness
from tests.e2e.running import base_config, running
from tests.e2e.webserver import payload, webserver
from tests.faults.faulty_icap import FAULTS, FaultyIcap
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TRANSACTIONS = int(os.environ.get("ARCUS_TRANSACTIONS", "1600"))
WIDTH = 16
FAST = {
    "health": None,
    "connect_timeout": 1.0,
    "first_byte_timeout": 1.0,
    "between_bytes_timeout": 2.0,
    "timeout": 3.0,
    "failure_limit": 100,
    "failure_window": 1.0,
    "revival_delay": 0.3,
}


def _config(state: Path, icap: int) -> dict[str, Any]:
    names = {"strict": "block", "lenient": "bypass"}
    uri = f"icap://127.0.0.1:{icap}/scan"
    tenant = {"ca": "default", "escaper": "direct"}
    address = "127.0.0.1"
    return base_config(
        state,
        icap_service=[{"name": name, "uri": uri, "on_error": policy} | FAST for name, policy in names.items()],
        auditor=[{"name": name, "icap_rules": [{"name": "all", "use": name}]} for name in names],
        tenant=[{"tenant_id": name, "auditor": name} | tenant for name in names],
        server=[
            {
                "name": name,
                "type": "http_proxy",
                "listen": {"address": f"{address}:{free_port()}"},
                "tenant_context": {"tenant_id": name},
            }
            for name in names
        ],
    )


def _jobs(first: int, port: int) -> list[Job]:
    """Downloads and uploads; every request is two transactions, and the number is in its path."""
    count = TRANSACTIONS // 4
    return [
        Job(number, "mixed", "http", "origin.test", port, f"/bytes/3000/n{number}", upload=payload(900) if number % 3 else b"")
        for number in range(first, first + count)
    ]


async def test_c6_icap_c39_nothing_passes_unscanned_and_every_bypass_is_recorded(tmp_path: Path) -> None:
    """ICP-05, ICAP-C37, ICAP-C38: under ``block`` only what was found clean passes; under ``bypass`` the rest is recorded."""
    icap = FaultyIcap(random.Random(7))
    await icap.open()
    with (
        webserver(tmp_path) as web,
        running(_config(tmp_path / "state", icap.port), tmp_path) as appliance,
        SpoolWitness(appliance.state, tmp_path / "witness") as witness,
    ):
        loads = [Load(appliance.port(name), 0, appliance.ca(), WIDTH) for name in ("strict", "lenient")]
        loop = asyncio.get_running_loop()
        loads[0].at(TRANSACTIONS // 10, lambda: asyncio.run_coroutine_threadsafe(_away(icap), loop).result(30))
        runs = (load.run(_jobs(number * TRANSACTIONS, web.port)) for number, load in enumerate(loads))
        strict, lenient = await asyncio.gather(*runs)
        witness.look()
        # not the alarms about files that by chance were clean before they were infected
        events = [event for event in witness.events() if event["kind"] != "retro"]
    await icap.close()
    print(icap.transactions, sorted(icap.faults.items()), *(Counter(each.status for each in run) for run in (strict, lenient)))
    assert set(icap.faults) == set(FAULTS) or TRANSACTIONS < 5000
    by_number = {int(event["url"].rpartition("/n")[2]): event for event in events if "/n" in event["url"]}
    assert len(by_number) == len(events) == len(strict) + len(lenient)
    _check_strict(icap, strict, by_number)
    _check_lenient(icap, lenient, by_number)


async def _away(icap: FaultyIcap) -> None:
    """The service is gone for a while, with all that was under way, and comes back."""
    await icap.close()
    await asyncio.sleep(1.5)
    await icap.open()


def _check_strict(icap: FaultyIcap, outcomes: list[Outcome], events: Mapping[int, Event]) -> None:
    for outcome in outcomes:
        number, event = outcome.job.number, events[outcome.job.number]
        assert outcome.status in (200, 403, 503), (outcome, event)
        assert {scan["outcome"] for scan in event["scans"]} <= {"clean", "blocked", "error"}, event
        assert "not_scanned" not in event, event
        if outcome.status == 200:
            assert {("REQMOD", number), ("RESPMOD", number)} <= icap.cleared, event
        else:
            assert event["reason"] in _REASONS, event
    passed = Counter(outcome.status for outcome in outcomes)[200]
    assert passed > len(outcomes) / 4
    assert [outcome for outcome in outcomes[-20:] if outcome.status == 200], "it recovers by itself"


def _check_lenient(icap: FaultyIcap, outcomes: list[Outcome], events: Mapping[int, Event]) -> None:
    bypassed = 0
    for outcome in outcomes:
        number, event = outcome.job.number, events[outcome.job.number]
        assert outcome.status not in (HUNG, 0), outcome
        passed_by = {scan["method"] for scan in event["scans"] if scan["outcome"] == "bypassed"}
        assert len(event.get("not_scanned", [])) == len(passed_by), event
        bypassed += len(passed_by)
        if outcome.status == 200:
            unseen = {method for method in ("REQMOD", "RESPMOD") if (method, number) not in icap.cleared}
            assert unseen <= passed_by, event
        guilty = {method for method in ("REQMOD", "RESPMOD") if (method, number) in icap.convicted}
        assert not guilty or outcome.status in (403, 503) or guilty <= passed_by, event
    assert bypassed > 20


_REASONS = frozenset(
    {
        "icap_error",
        "icap_overload",
        "icap_protocol_error",
        "icap_timeout",
        "icap_unreachable",
        "malware_found",
    }
)
