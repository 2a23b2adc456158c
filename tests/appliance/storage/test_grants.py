"""C2: what people have accepted, shared by workers through files."""

import dataclasses
import multiprocessing
from pathlib import Path

import pytest

from appliance.domain.clock import ManualClock
from appliance.domain.ids import TenantId
from appliance.domain.proceed import Warned
from appliance.storage import secret_file
from appliance.storage.grants import Grants

WARNED = Warned(TenantId("a"), "10.0.0.7", "alice", "bad.test", 443, "upstream_cert_expired", "ab" * 32)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000.0)


def test_a_grant_holds_until_its_end_for_every_worker(tmp_path: Path, clock: ManualClock) -> None:
    assert Grants(tmp_path, clock).grant(WARNED, 1_060.0)
    other = Grants(tmp_path, clock)
    assert other.holds(WARNED)
    clock.advance(59.9)
    assert other.holds(WARNED)
    clock.advance(0.1)
    assert not other.holds(WARNED)


@pytest.mark.security
@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Warned)])
def test_a_grant_holds_for_nothing_else(tmp_path: Path, clock: ManualClock, field: str) -> None:
    grants = Grants(tmp_path, clock)
    grants.grant(WARNED, 2_000.0)
    other = dataclasses.replace(WARNED, **{field: 444 if field == "port" else "other"})
    assert not grants.holds(other)


def test_files_are_for_the_appliance_alone(tmp_path: Path, clock: ManualClock) -> None:
    Grants(tmp_path / "grants", clock).grant(WARNED, 2_000.0)
    (folder,) = (tmp_path / "grants").iterdir()
    (file,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_tenant_has_a_limit_of_its_own_and_ended_grants_make_room(tmp_path: Path, clock: ManualClock) -> None:
    grants = Grants(tmp_path, clock, limit=2)
    ports = [dataclasses.replace(WARNED, port=port) for port in (1, 2, 3)]
    assert [grants.grant(each, 1_100.0) for each in ports] == [True, True, False]
    assert grants.grant(ports[0], 1_200.0)  # known already
    assert grants.grant(dataclasses.replace(WARNED, tenant=TenantId("b")), 1_100.0)
    clock.advance(150)
    assert grants.grant(ports[2], 1_300.0)
    assert [grants.holds(each) for each in ports] == [True, False, True]


@pytest.mark.security
def test_one_client_cannot_use_up_the_tenant_s_grants(tmp_path: Path, clock: ManualClock) -> None:
    grants = Grants(tmp_path, clock, limit=9, of_client=2)
    own = [dataclasses.replace(WARNED, host=f"{number}.test") for number in range(3)]
    assert [grants.grant(each, 2_000.0) for each in own] == [True, True, False]
    assert grants.grant(own[0], 2_000.0), "pressed once more"
    assert grants.grant(dataclasses.replace(WARNED, client="10.0.0.8"), 2_000.0)
    assert grants.grant(dataclasses.replace(WARNED, user="bob"), 2_000.0)
    rotating = [dataclasses.replace(WARNED, client=f"2001:db8::{number}") for number in range(1, 4)]
    assert [grants.grant(each, 2_000.0) for each in rotating] == [True, True, False]
    clock.advance(2_000.0)
    assert grants.grant(own[2], 9_000.0)


def test_what_cannot_be_written_is_an_error(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "grants").write_text("a file")
    grants = Grants(tmp_path / "grants", clock)
    with pytest.raises(OSError):
        grants.grant(WARNED, 2_000.0)
    assert not grants.holds(WARNED)


# -- the key


def test_the_key_is_made_once_for_the_appliance_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "proceed"
    key = secret_file.ensure(file)
    assert len(key) == 32
    assert secret_file.ensure(file) == key
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["proceed"]


def test_processes_that_start_together_agree_on_a_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert len(set(pool.map(secret_file.ensure, [tmp_path / "key"] * 8))) == 1


@pytest.mark.security
def test_a_key_that_others_may_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    secret_file.ensure(file)
    file.chmod(0o640)
    with pytest.raises(ValueError, match="chmod 600"):
        secret_file.ensure(file)
    file.chmod(0o600)
    file.write_bytes(b"short")
    with pytest.raises(ValueError, match="not a key"):
        secret_file.ensure(file)
