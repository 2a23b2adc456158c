"""D3: `arcus coverage`."""

import json
import time
from pathlib import Path

import pytest

from appliance.storage.sqlite import SqliteStore
from tests.appliance.cli.conftest import Arcus


@pytest.fixture
def told(config: Path) -> Path:
    store = SqliteStore(config.parent / "state" / "audit.db")
    sizes = {
        "a": ("acme", "a.test", {"response: scanned": 300, "response: not_scanned too_large": 100}),
        "b": ("acme", "\x1b[2Jb.test", {"request: spliced rule": 5000}),
        "c": ("other", "c.test", {"response: own": 7}),
    }
    events = [
        {"id": name, "tenant_id": tenant, "destination_host": host, "created_at": time.time(), "coverage": coverage}
        for name, (tenant, host, coverage) in sizes.items()
    ]
    store.append([(event, json.dumps(event)) for event in events])
    store.close()
    return config


def test_d3_by_host_worst_first(arcus: Arcus, told: Path) -> None:
    lines = arcus("coverage", "-c", told).out.splitlines()
    assert "5407 bytes, 5.6% of what could be inspected was; 5100 bytes were not" in lines[0]
    assert lines[1].split()[:2] == ["HOST", "BYTES"]
    assert ["b.test" in lines[2], "spliced rule" in lines[2], lines[3].split()[0]] == [True, True, "a.test"]
    assert "\x1b" not in "".join(lines)


def test_d3_json_of_one_tenant_has_nothing_of_another(arcus: Arcus, told: Path) -> None:
    ran = arcus("coverage", "--tenant", "other", "-c", told, "--json")
    found = json.loads(ran.out)
    assert (found["whole"]["bytes"], [line["name"] for line in found["lines"]]) == (7, ["c.test"])
    assert "a.test" not in ran.out
    assert "spliced" not in ran.out


def test_d3_by_bucket(arcus: Arcus, told: Path) -> None:
    lines = arcus("coverage", "--by", "bucket", "-c", told).out.splitlines()
    assert lines[2].split() == ["request", "spliced", "rule", "5000", "1"]
    assert len(lines) == 6


def test_what_cannot_be_asked_is_told(arcus: Arcus, told: Path) -> None:
    for arguments in (("--by", "colour"), ("--sort", "size"), ("--since", "tomorrow")):
        ran = arcus("coverage", *arguments, "-c", told)
        assert ran.code == 1
        assert arguments[1] in ran.err


def test_a_misspelt_tenant_has_no_good_news(arcus: Arcus, told: Path) -> None:
    """One that is configured no more has what is left of it (above); one that was never there is an error."""
    ran = arcus("coverage", "--tenant", "acmee", "-c", told, "--json")
    assert (ran.code, ran.out, ran.err.splitlines()[0]) == (1, "", "error: no tenant is named 'acmee'")


def test_without_a_database_it_says_what_makes_one(arcus: Arcus, config: Path) -> None:
    ran = arcus("coverage", "-c", config)
    assert ran.code == 1
    assert "arcus run" in ran.err


def test_nothing_counted(arcus: Arcus, config: Path) -> None:
    SqliteStore(config.parent / "state" / "audit.db").close()
    assert arcus("coverage", "-c", config).out.splitlines()[1] == "nothing was counted"
