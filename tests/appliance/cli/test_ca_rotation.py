"""`arcus ca rotate`, `switch`, `rollback`, `drop`, `readiness`; C21, D8."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.readiness import Encounter
from appliance.storage.ca_encounters import CaEncounters
from appliance.storage.sqlite import SqliteStore
from certs import sealing
from tests.appliance.cli.conftest import Arcus


@pytest.fixture
def rotating(arcus: Arcus, config: Path) -> dict[str, Any]:
    """What `rotate` said: both CAs, by generation."""
    assert arcus("ca", "init", "-c", config).code == 0
    ran = arcus("ca", "rotate", "-c", config, "--tenant", "blue", "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)["generations"]


def signing(arcus: Arcus, config: Path) -> str:
    [shown] = json.loads(arcus("ca", "show", "-c", config, "--tenant", "blue", "--json").out)
    return shown["sha256"].replace(":", "").lower()


def met(config: Path, *encounters: Encounter) -> None:
    store = SqliteStore(config.parent / "state" / "audit.db")
    CaEncounters(store).add(encounters)
    store.close()


def test_a_next_ca_is_made_beside_the_one_that_signs(arcus: Arcus, config: Path, rotating) -> None:
    assert set(rotating) == {"current", "next"}
    assert rotating["current"]["subject"] != rotating["next"]["subject"]
    assert signing(arcus, config) == rotating["current"]["sha256"]
    again = arcus("ca", "rotate", "-c", config, "--tenant", "blue")
    assert (again.code, "has a next one already" in again.err) == (1, True)
    exported = arcus("ca", "export", "-c", config, "--tenant", "blue", "--generation", "next").out
    home = config.parent / "state" / "ca"
    assert exported == (home / ".main.next" / "ca.pem").read_text()
    assert (home / ".main.next" / "ca.key").stat().st_mode & 0o777 == 0o600


def test_a_leaf_of_either_ca_can_be_revoked(arcus: Arcus, config: Path, rotating) -> None:
    assert arcus("ca", "revoke", "-c", config, "--tenant", "blue", "--serial", "abc").out == "abc is revoked\n"
    lists = list((config.parent / "state" / "pki").glob("*/revoked.json"))
    assert {file.parent.name for file in lists} == {each["sha256"][:32] for each in rotating.values()}
    assert len(json.loads(arcus("ca", "revoked", "-c", config, "--tenant", "blue", "--json").out)) == 1


def test_switch_rollback_and_drop(arcus: Arcus, config: Path, rotating) -> None:
    def step(*words: str) -> set[str]:
        ran = arcus("ca", *words, "-c", config, "--tenant", "blue", "--json")
        assert ran.code == 0, ran.err
        return set(json.loads(ran.out)["generations"])

    assert step("switch", "--anyway") == {"current", "previous"}
    assert signing(arcus, config) == rotating["next"]["sha256"]
    assert step("rollback") == {"current", "next"}
    assert signing(arcus, config) == rotating["current"]["sha256"]
    assert step("switch", "--anyway") == {"current", "previous"}
    assert step("drop", "--generation", "previous") == {"current"}
    assert signing(arcus, config) == rotating["next"]["sha256"]
    assert "arcus reload" in arcus("ca", "rotate", "-c", config, "--tenant", "blue").err


def test_show_has_the_generations_beside_the_current_one(arcus: Arcus, config: Path, rotating) -> None:
    [shown] = json.loads(arcus("ca", "show", "-c", config, "--tenant", "blue", "--json").out)
    assert (shown["next"], "previous" in shown) == (rotating["next"], False)
    line = "  next         {subject} sha256 {sha256}\n".format(**rotating["next"])
    assert line in arcus("ca", "show", "-c", config).out


@pytest.mark.parametrize("step", [("switch", "--anyway"), ("rollback",), ("drop", "--generation", "previous")], ids=" ".join)
def test_aud_04_a_step_that_cannot_be_made_is_refused_before_it_is_announced(
    arcus: Arcus, config: Path, step: tuple[str, ...]
) -> None:
    """No event says that it was done, or that something failed: nothing was begun but what came before."""
    assert arcus("ca", "init", "-c", config).code == 0
    ran = arcus("ca", *step, "-c", config, "--tenant", "blue")
    assert (ran.code, ran.out) == (1, "")
    assert re.match(r"error: there is no (next|previous) CA 'main'\nhint: ", ran.err)
    assert {event["act"]["verb"] for event in told(config)} == {"made"}


def test_a_switch_waits_for_the_clients(arcus: Arcus, config: Path, rotating) -> None:
    from appliance.domain.clock import SystemClock

    now, old, new = SystemClock().now(), rotating["current"]["sha256"], rotating["next"]["sha256"]
    command = ("ca", "switch", "-c", config, "--tenant", "blue")
    assert "no client is known" in arcus(*command).err
    met(config)
    assert "no client has been seen" in arcus(*command).err
    met(config, Encounter("blue", "10.0.0.1", old, now), Encounter("blue", "10.0.0.2", old, now, 0.0, "alice", "curl/8"))
    met(config, Encounter("blue", "10.0.0.1", new, now))
    refused = arcus(*command)
    assert (refused.code, "1 of 2 clients have not accepted the next CA" in refused.err) == (1, True)
    told = json.loads(arcus("ca", "readiness", "-c", config, "--tenant", "blue", "--json").out)
    assert (told["ready"], told["clients"]) == (1, 2)
    shown = arcus("ca", "readiness", "-c", config, "--tenant", "blue").out
    assert shown.startswith("main: 1 of 2 clients are ready for the next CA\n")
    assert "10.0.0.2" in shown
    assert "alice" in shown
    assert "10.0.0.1" not in shown
    met(config, Encounter("blue", "10.0.0.2", new, now))
    assert arcus(*command).code == 0
    assert signing(arcus, config) == new


def test_readiness_without_a_next_ca(arcus: Arcus, config: Path) -> None:
    arcus("ca", "init", "-c", config)
    assert "make it with `arcus ca rotate`" in arcus("ca", "readiness", "-c", config, "--tenant", "blue").err
    assert "no next CA" in arcus("ca", "switch", "-c", config, "--tenant", "blue", "--anyway").err
    assert "no next CA" in arcus("ca", "switch", "-c", config, "--tenant", "blue").err
    assert "there is no next CA" in arcus("ca", "export", "-c", config, "--tenant", "blue", "--generation", "next").err


def told(config: Path) -> list[dict[str, Any]]:
    """Events that wait in the spool for the drain, oldest first."""
    files = sorted((config.parent / "state" / "spool").glob("*.seg"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_aud_04_what_is_done_to_a_ca_is_told_before_it_is_done(
    arcus: Arcus, config: Path, rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D8: who, from where, and what came of it, for every tenant that the CA signs for."""
    monkeypatch.setenv("SSH_CONNECTION", "10.9.8.7 50000 10.0.0.1 22")
    assert arcus("ca", "revoke", "-c", config, "--tenant", "blue", "--serial", "abc").code == 0
    assert arcus("ca", "switch", "-c", config, "--tenant", "blue", "--anyway").code == 0
    assert arcus("ca", "rotate", "-c", config, "--tenant", "blue").code == 0
    assert arcus("ca", "switch", "-c", config, "--tenant", "blue", "--anyway").code == 1, "the previous one is still there"
    assert arcus("ca", "drop", "-c", config, "--tenant", "blue", "--generation", "previous").code == 0
    events = told(config)
    assert [(event["act"]["verb"], event["action"]) for event in events if event["tenant_id"] == "blue"] == [
        ("made", "decide"), ("rotated", "decide"), ("revoked a leaf", "decide"), ("switched", "decide"), ("rotated", "decide"),
        ("switched", "decide"), ("switched", "fail"), ("dropped", "decide"),
    ]  # fmt: skip
    _, rotated, revoked, *_ = (event for event in events if event["tenant_id"] == "blue")
    assert (rotated["kind"], rotated["act"]["on"], rotated["act"]["subject"]) == ("decision", "ca", "main")
    assert (rotated["source_ip"], revoked["source_ip"]) == ("", "10.9.8.7")
    assert revoked["act"]["note"] == "serial abc, key_compromise"
    assert all(event["act"]["via"] == "command line" and event["act"]["by"] for event in events)
    assert "PRIVATE KEY" not in json.dumps(events)


@pytest.mark.security
def test_aud_04_what_cannot_be_told_is_not_done(arcus: Arcus, config: Path, rotating) -> None:
    config.write_text(config.read_text() + "\naudit:\n  spool_max: 1M\n")
    (config.parent / "state" / "spool" / "1-000-1-000001.seg").write_bytes(b"x" * 1_048_576)
    refused = arcus("ca", "switch", "-c", config, "--tenant", "blue", "--anyway")
    assert (refused.code, "audit spool" in refused.err) == (1, True)
    assert signing(arcus, config) == rotating["current"]["sha256"]


def test_aud_04_a_ca_that_is_made_is_told_once_for_each_of_its_tenants(arcus: Arcus, config: Path) -> None:
    """Whose CA it is, and what it is called; a CA that is there already is no act."""
    assert arcus("ca", "init", "-c", config).code == 0
    events = told(config)
    assert sorted(event["tenant_id"] for event in events) == sorted({event["tenant_id"] for event in events})
    assert {(event["kind"], event["action"], event["act"]["on"], event["act"]["verb"]) for event in events} == {
        ("decision", "decide", "ca", "made")
    }
    assert "blue" in {event["tenant_id"] for event in events}
    assert arcus("ca", "init", "-c", config).code == 0
    assert told(config) == events


@pytest.mark.security
def test_aud_04_no_ca_is_made_that_cannot_be_told(arcus: Arcus, config: Path) -> None:
    config.write_text(config.read_text() + "\naudit:\n  spool_max: 1M\n")
    spool = config.parent / "state" / "spool"
    spool.mkdir(parents=True)
    (spool / "1-000-1-000001.seg").write_bytes(b"x" * 1_048_576)
    refused = arcus("ca", "init", "-c", config)
    assert (refused.code, "audit spool" in refused.err) == (1, True)
    assert list((config.parent / "state" / "ca").glob("**/*.key")) == []


def test_aud_04_the_key_of_shared_leaves_is_rotated_in_sight(arcus: Arcus, config: Path) -> None:
    """Every tenant has leaves under it. What fails is told as well."""
    file = config.parent / "state" / "leaf-cache.key"
    file.parent.mkdir()
    sealing.ensure(file)
    assert arcus("redis", "rotate-key", "-c", config, "--keep", "2").code == 0
    file.write_text("damaged\n")
    assert arcus("redis", "rotate-key", "-c", config).code == 1
    events = [event for event in told(config) if event["tenant_id"] == "blue"]
    assert [(event["act"]["on"], event["act"]["subject"], event["act"]["verb"], event["action"]) for event in events] == [
        ("key", "leaf-cache", "rotated", "decide"), ("key", "leaf-cache", "rotated", "decide"),
        ("key", "leaf-cache", "rotated", "fail"),
    ]  # fmt: skip
    assert events[0]["act"]["note"] == "former keys that are kept: 2 at most"
    assert "must hold" in events[-1]["act"]["failed"]
    assert file.read_text() == "damaged\n"
