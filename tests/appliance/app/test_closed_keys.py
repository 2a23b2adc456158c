"""Which key files a worker gives up (TLS-08)."""

from pathlib import Path
from typing import Any

import pytest

from appliance.app import closed_keys
from appliance.app.closed_keys import close_keys
from appliance.config.redis import Redis
from appliance.config.root import AppConfig
from appliance.landlock import NotClosed
from tests.appliance.config.base import BASE, loads


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been closed: to do it would be for the life of the tests' own process."""
    seen: list[Any] = []
    monkeypatch.setattr(closed_keys, "close_files", lambda *given: seen.extend(given))
    return seen


def config(state: Path, **ca: object) -> AppConfig:
    loaded = loads(BASE).config
    return loaded.model_copy(update={"ca": [loaded.ca[0].model_copy(update=ca)], "state_dir": state})


@pytest.mark.security
def test_tls_08_keys_of_all_generations_and_pins_in_the_state_directory(tmp_path: Path, asked: list[Any]) -> None:
    (tmp_path / "ca" / ".main.next").mkdir(parents=True)
    (tmp_path / "untrusted-ca" / "forward-untrust").mkdir(parents=True)
    (tmp_path / "untrusted-ca" / "forward-untrust" / "ca.key").touch()
    assert close_keys(config(tmp_path)) == "out of reach"
    assert {str(path.relative_to(tmp_path)) for path in asked[0]} == {
        "ca/main/ca.key", "ca/.main.next/ca.key", "untrusted-ca/forward-untrust/ca.key",
    }  # fmt: skip


def test_a_worker_that_signs_itself_keeps_what_it_needs(tmp_path: Path, asked: list[Any]) -> None:
    assert close_keys(config(tmp_path, signer="in_process")) == "none in state_dir that the signer holds"
    assert asked == []


@pytest.mark.security
@pytest.mark.parametrize("signer", ["process", "in_process"])
def test_tls_08_keys_of_cas_that_the_configuration_has_no_more(tmp_path: Path, asked: list[Any], signer: str) -> None:
    """Clients may trust them still. A CA of the same worker's signing keeps its own."""
    for folder in ("main", ".main.next", "former", ".former.previous"):
        (tmp_path / "ca" / folder).mkdir(parents=True)
    (tmp_path / "ca" / ".lock").touch()
    assert close_keys(config(tmp_path, signer=signer)) == "out of reach"
    expected = {"ca/former/ca.key", "ca/.former.previous/ca.key"}
    if signer == "process":
        expected |= {"ca/main/ca.key", "ca/.main.next/ca.key"}
    assert {str(path.relative_to(tmp_path)) for path in asked[0]} == expected


def test_files_elsewhere_are_left_alone(tmp_path: Path, asked: list[Any]) -> None:
    own = {"certificate": tmp_path / "etc" / "ca.pem", "private_key": tmp_path / "etc" / "ca.key"}
    close_keys(config(tmp_path / "state", **own))
    assert tmp_path / "etc" / "ca.key" not in asked[0]


def test_why_it_could_not_be_done_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NotClosed("this kernel's Landlock is too old")

    monkeypatch.setattr(closed_keys, "close_files", refuse)
    assert close_keys(config(tmp_path)) == "this process could read them: this kernel's Landlock is too old"


def test_lists_that_a_worker_reads_again_are_named(tmp_path: Path, asked: list[Any]) -> None:
    listed = tmp_path / "lists" / "hashes.txt"
    listed.parent.mkdir()
    listed.write_text("")
    more = f"""
icap_server:
  listen: {{address: "127.0.0.1:1344"}}
  in_workers: true
  scanners: [{{type: hashes, files: [{listed}]}}]
"""
    close_keys(loads(BASE + more).config.model_copy(update={"state_dir": tmp_path}))
    assert asked[1] == [listed]


def test_roots_that_a_worker_reads_for_each_connection_to_redis_are_named(tmp_path: Path, asked: list[Any]) -> None:
    roots = tmp_path / "redis-ca.pem"
    wanted = Redis(url="rediss://cache.test:6380/0", ca_file=roots)
    close_keys(config(tmp_path).model_copy(update={"redis": wanted}))
    assert asked[1] == [roots]
