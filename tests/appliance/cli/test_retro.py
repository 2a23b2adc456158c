"""D6: `arcus retro`: what is shown, for one tenant and for all, and questions by hash."""

import json
from pathlib import Path

import pytest

from appliance.storage.retro import RetroLedger
from appliance.storage.sqlite import SqliteStore
from tests.appliance.cli.conftest import Arcus
from tests.appliance.storage.test_retro import ONE, THREE, TWO, delivery, found


@pytest.fixture
def known(config: Path) -> Path:
    state = config.parent / "state"
    (state / "spool").mkdir(parents=True)
    store = SqliteStore(state / "audit.db")
    ledger = RetroLedger(store)
    ledger.observe([delivery("t1", ONE, "blue"), delivery("t2", ONE, "default"), delivery("t3", TWO, "default")], [])
    ledger.mark([found(ONE, "blue")])
    store.close()
    return config


def test_list_show_and_status(arcus: Arcus, known: Path) -> None:
    (body,) = json.loads(arcus("retro", "list", "--json", "-c", known).out)
    assert (body["tenant"], body["sha256"], body["signature"], body["deliveries"]) == ("blue", ONE, "Evil", 1)
    assert ONE in arcus("retro", "list", "-c", known).out
    shown = json.loads(arcus("retro", "show", ONE.upper(), "--json", "-c", known).out)
    assert [(each["tenant"], [flow["task"] for flow in each["flows"]]) for each in shown] == [
        ("blue", ["t1"]),
        ("default", ["t2"]),
    ]
    assert "https://a.test/x" in arcus("retro", "show", ONE, "-c", known).out
    numbers = {
        each["tenant"]: (each["bodies"], each["bad"])
        for each in json.loads(arcus("retro", "status", "--json", "-c", known).out)
    }
    assert numbers == {"blue": (1, 1), "default": (2, 0)}
    assert "default" in arcus("retro", "status", "-c", known).out


@pytest.mark.security
def test_one_tenant_is_shown_nothing_of_another(arcus: Arcus, known: Path) -> None:
    assert json.loads(arcus("retro", "list", "--tenant", "default", "--json", "-c", known).out) == []
    shown = json.loads(arcus("retro", "show", ONE, "--tenant", "default", "--json", "-c", known).out)
    assert [[flow["task"] for flow in each["flows"]] for each in shown] == [["t2"]]
    refused = arcus("retro", "show", TWO, "--tenant", "blue", "-c", known)
    assert (refused.code, refused.out) == (1, "")
    for command in (["status"], ["list"], ["run", "--sha256", ONE]):
        refused = arcus("retro", *command, "--tenant", "nobody", "-c", known)
        assert (refused.code, "no tenant 'nobody'" in refused.err) == (1, True)
    assert json.loads(arcus("retro", "run", "--sha256", TWO, "--tenant", "blue", "--json", "-c", known).out) == []


def test_who_got_any_of_these(arcus: Arcus, known: Path, tmp_path: Path) -> None:
    file = tmp_path / "hashes.txt"
    file.write_text(f"# indicators\n{TWO.upper()} Some.Name\n\n{THREE}\n")
    found = json.loads(arcus("retro", "run", "--hashes", file, "--sha256", ONE, "--json", "-c", known).out)
    assert [(body["tenant"], body["sha256"]) for body in found] == [("blue", ONE), ("default", ONE), ("default", TWO)]
    assert "nothing of this" in arcus("retro", "run", "--sha256", THREE, "-c", known).out
    file.write_text("# none\n")
    assert json.loads(arcus("retro", "run", "--hashes", file, "--json", "-c", known).out) == []
    file.write_text("abc\n")
    refused = arcus("retro", "run", "--hashes", file, "-c", known)
    assert (refused.code, f"{file}:1" in refused.err) == (1, True)
    assert arcus("retro", "run", "--hashes", tmp_path / "nothing", "-c", known).code == 1
    assert arcus("retro", "run", "--sha256", "abc", "-c", known).code == 1


def test_a_hunt_is_asked_for_and_recorded(arcus: Arcus, known: Path) -> None:
    ran = arcus("retro", "run", "--tenant", "blue", "--json", "-c", known)
    (status,) = json.loads(ran.out)
    assert "retro.samples" in ran.err  # nothing is kept that a scanner could judge
    assert (status["tenant"], status["hunt"]["cause"]) == ("blue", "asked")
    files = sorted((known.parent / "state" / "spool").glob("*.seg"))
    acts = [json.loads(line)["act"] for file in files for line in file.read_text().splitlines()]
    assert [(act["on"], act["subject"], act["verb"], act["via"]) for act in acts] == [
        ("retro", "blue", "begun", "command line")
    ]


def test_without_a_database_it_says_what_makes_one(arcus: Arcus, config: Path) -> None:
    refused = arcus("retro", "list", "-c", config)
    assert (refused.code, "arcus run" in refused.err) == (1, True)
