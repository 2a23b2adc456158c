"""The quarantine through the whole appliance: blocked, listed, released byte for byte, deleted, and all of it recorded."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.quarantine import Item
from appliance.quarantine.cabinet import Cabinet
from appliance.quarantine.store import QuarantineStore
from certs import sealing
from tests.e2e.large import BigOrigin, big_origin, piece, stream_scanner
from tests.e2e.records import record
from tests.e2e.running import Running, base_config, running, wait_until
from tests.e2e.scanners import auditor
from tests.e2e.webserver import webserver
from tests.servers import EICAR

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

OTHER = "127.0.0.2"
"""A client of a tenant without a quarantine."""
SLOW = "127.0.0.3"
"""A client that gets bytes before the verdict."""


@dataclass
class Lab:
    appliance: Running
    origin: BigOrigin
    directory: Path

    def get(self, path: str, source: str = "127.0.0.1") -> Any:
        url = f"https://origin.test:{self.origin.port}{path}"
        return self.appliance.curl("--interface", source, "--cacert", self.appliance.ca(), url, timeout=60)

    def command(self, *words: str) -> str:
        done = self.appliance.arcus("quarantine", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def cabinet(self, tenant: str = "default") -> Cabinet:
        state = self.appliance.state
        return QuarantineStore(state / "quarantine", state / "keys" / "quarantine", sealing.load).cabinet(tenant)

    def ids(self, tenant: str = "default") -> list[str]:
        return [stored.id for stored in self.cabinet(tenant).stored()]

    def kept(self, number: str, tenant: str = "default") -> Item:
        """What is known of a body, once it is on disk."""
        wait_until(lambda: number in self.ids(tenant), what="the body is on disk")
        return self.cabinet(tenant).item(number)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("quarantine")
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(webserver(directory))
        origin = stack.enter_context(big_origin(web.issue(directory, "origin.test")))
        scanner = stack.enter_context(stream_scanner())
        drip = {"trickle": {"after": "0s", "rate": 4096}}
        default = {"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct"}
        made = base_config(
            directory / "state",
            auditor=[auditor("inspect", web, scanner.uri), auditor("drip", web, scanner.uri, large_bodies=drip)],
            tenant=[
                default,
                default | {"tenant_id": "other", "match": {"networks": [f"{OTHER}/32"]}},
                default | {"tenant_id": "slow", "auditor": "drip", "match": {"networks": [f"{SLOW}/32"]}},
            ],
            quarantine={"tenants": ["default", "slow"], "max_size": "8M"},
        )
        yield Lab(stack.enter_context(running(made, directory)), origin, directory)


@pytest.mark.security
@pytest.mark.parametrize(("size", "at"), [(1_000, 100), (3_000_000, 2_950_000)])
def test_a_body_is_blocked_listed_released_and_deleted(lab: Lab, size: int, at: int) -> None:
    path, body = f"/gen?size={size}&at={at}&whole", b"".join(piece(n, min(65536, size - n), at) for n in range(0, size, 65536))
    answer = lab.get(path)
    assert (answer.status, EICAR in answer.body) == (403, False)
    event = record(lab.appliance, path)
    number = event["quarantine"]
    item = lab.kept(number)
    assert (item.task, item.tenant, item.host, item.side) == (event["id"], "default", "origin.test", "response")
    assert (item.size, item.sha256, item.signature) == (size, hashlib.sha256(body).hexdigest(), "Eicar-Test")
    assert number in [each["id"] for each in json.loads(lab.command("list", "--json"))]
    for file in (lab.appliance.state / "quarantine").rglob("*"):
        assert not file.is_file() or (EICAR not in file.read_bytes() and file.stat().st_mode & 0o077 == 0)
    to = lab.directory / f"{size}.bin"
    lab.command("release", number, "--to", str(to), "--reason", "to look at it")
    assert to.read_bytes() == body
    lab.command("delete", number, "--reason", "looked at")
    assert number not in lab.ids()

    def acts() -> list[Any]:
        told = [each["act"] for each in lab.appliance.events(kind="decision") if each["act"]["subject"] == number]
        return [(act["verb"], act["note"]) for act in told]

    wait_until(lambda: len(acts()) == 2, 30, "both acts in the audit stream")
    assert acts() == [("released", "to look at it"), ("deleted", "looked at")]


def test_a_body_that_was_met_twice_is_kept_once(lab: Lab) -> None:
    numbers = []
    for turn in range(2):
        path = f"/gen?size=2000&at=7&turn={turn}."
        assert lab.get(path).status == 403
        numbers.append(record(lab.appliance, path)["quarantine"])
    assert numbers[0] == numbers[1]
    wait_until(lambda: lab.kept(numbers[0]).times == 2)


@pytest.mark.security
def test_a_tenant_that_is_not_named_keeps_nothing(lab: Lab) -> None:
    path = "/gen?size=1500&at=7&other"
    assert lab.get(path, OTHER).status == 403
    assert "quarantine" not in record(lab.appliance, path)
    assert not (lab.appliance.state / "quarantine" / "other").exists()


def test_what_is_too_large_is_blocked_and_noted(lab: Lab) -> None:
    path = f"/gen?size={9 << 20}&at={8 << 20}&large"
    assert lab.get(path).status == 403
    assert record(lab.appliance, path)["quarantine"] == "not kept: too_large"


def test_a_body_that_its_client_has_in_part_is_kept_whole(lab: Lab) -> None:
    size, path = 4 << 20, f"/gen?size={4 << 20}&at={(4 << 20) - 65536}&late"
    answer = lab.get(path, SLOW)
    assert EICAR not in answer.body
    event = record(lab.appliance, path)
    assert event["reason"] == "malware_found"
    assert lab.kept(event["quarantine"], "slow").size == size


def test_what_is_too_old_or_too_much_is_deleted_and_told(lab: Lab) -> None:
    paths = [f"/gen?size={size}&at=7&surplus" for size in (3001, 3002)]
    numbers = []
    for path in paths:
        assert lab.get(path).status == 403
        numbers.append(record(lab.appliance, path)["quarantine"])
        lab.kept(numbers[-1])
    made = lab.appliance.config
    lab.appliance.reload(made | {"quarantine": made["quarantine"] | {"max_items": 1}})
    wait_until(lambda: lab.ids() == numbers[1:], 60)
    event = wait_until(
        lambda: [each for each in lab.appliance.events(kind="decision") if each["act"]["subject"] == numbers[0]], 60
    )
    assert (event[0]["act"]["verb"], event[0]["act"]["via"]) == ("displaced", "appliance")
