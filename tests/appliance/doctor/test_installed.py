"""Redis, the signer, client certificates and learning, each with its faults put in, against real servers."""

import asyncio
import contextlib
import fcntl
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.app.keys import seats
from appliance.app.learning import book
from appliance.config.root import AppConfig
from appliance.doctor import Finding, Level, identities, learning, shared_leaves, signing
from appliance.domain.act import Actor
from appliance.domain.clock import ManualClock, SystemClock
from appliance.domain.exclusion import Kind, State, to_snapshot
from appliance.domain.learning import Evidence, Key
from appliance.storage.sqlite import SqliteStore
from certs import sealing
from certs.authority import load_or_create
from certs.client_identity import load_identity
from certs.expiry import DAY
from certs.generations import Generation, Generations
from certs.mint import Mint
from certs.signing import place
from certs.signing.leaf_desk import LeafDesk
from certs.signing.server import SignerServer
from certs.signing.wire import Kind as WireKind
from tests.appliance.config.base import changed, loads
from tests.ports import free_port
from tests.redis_server import redis_server, tls_options


@dataclass
class Installed:
    """``told``: level and subject of each finding, and all that is wrong has to say what to do."""

    folder: Path

    def config(self, *edits: tuple[str, str], more: str = "") -> AppConfig:
        return loads(changed(*edits) + more, self.folder).config

    @property
    def state(self) -> Path:
        return self.folder / "state"


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    (tmp_path / "state" / "run").mkdir(mode=0o700, parents=True)
    return Installed(tmp_path)


def told(findings: Iterator[Finding] | list[Finding]) -> dict[str, Finding]:
    found = {each.what: each for each in findings}
    for each in found.values():
        assert (each.hint != "") is (each.level is not Level.OK), f"what is to be done about {each}?"
    return found


def levels(findings: dict[str, Finding]) -> dict[str, str]:
    return {what: each.level.value for what, each in findings.items()}


# -- Redis


def redis_config(installed: Installed, url: str, more: str = "") -> AppConfig:
    return installed.config(more=f"\nredis:\n  url: {url}\n{more}")


def test_rds_07_redis_that_is_well(installed: Installed) -> None:
    sealing.ensure(installed.state / "leaf-cache.key")
    with redis_server(installed.folder, maxmemory="20mb", maxmemory_policy="allkeys-lru") as server:
        found = told(shared_leaves.examine(redis_config(installed, server.url)))
    assert levels(found) == {"redis key": "ok", "redis": "ok", "redis memory": "ok", "redis TLS": "ok"}
    assert "version " in found["redis"].detail
    assert "unknown" not in found["redis"].detail
    assert list(shared_leaves.examine(installed.config())) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [({}, "no bound"), ({"maxmemory": "20mb", "maxmemory_policy": "noeviction"}, "noeviction")],
)
def test_rds_07_redis_that_fills_up(installed: Installed, options: dict[str, str], words: str) -> None:
    with redis_server(installed.folder, **options) as server:
        memory = told(shared_leaves.examine(redis_config(installed, server.url)))["redis memory"]
    assert (memory.level, words in memory.detail) == (Level.WARN, True)


def test_rds_07_redis_away_hanging_and_refusing(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_leaves, "PATIENCE", 0.5)
    found = told(shared_leaves.examine(redis_config(installed, f"redis://127.0.0.1:{free_port()}/0")))
    assert levels(found) == {"redis key": "warn", "redis": "fail"}
    with redis_server(installed.folder, requirepass="secret") as server:
        refused = told(shared_leaves.examine(redis_config(installed, server.url)))["redis"]
        assert (refused.level, "password_file" in refused.hint) == (Level.FAIL, True)
        (installed.folder / "password").write_text("secret\n")
        (installed.folder / "password").chmod(0o600)
        good = redis_config(installed, server.url, "  password_file: password\n")
        assert told(shared_leaves.examine(good))["redis"].level is Level.OK
        with server.stopped():
            assert told(shared_leaves.examine(good))["redis"].level is Level.FAIL


@pytest.mark.security
def test_rds_07_redis_over_tls_with_the_right_and_a_wrong_authority(installed: Installed) -> None:
    ca, port = trustme.CA(), free_port()
    with redis_server(installed.folder, **tls_options(installed.folder, ca, port)):
        url = f"rediss://127.0.0.1:{port}/0"
        good = told(shared_leaves.examine(redis_config(installed, url, "  ca_file: roots.pem\n")))
        assert (good["redis"].level, good["redis TLS"].detail) == (Level.OK, "its certificate is verified")
        trustme.CA().cert_pem.write_to_path(str(installed.folder / "roots.pem"))
        bad = told(shared_leaves.examine(redis_config(installed, url, "  ca_file: roots.pem\n")))
    assert (bad["redis"].level, "certificate verify failed" in bad["redis"].detail) == (Level.FAIL, True)


@pytest.mark.security
def test_rds_07_a_sealing_key_that_others_can_read_or_that_is_damaged(installed: Installed) -> None:
    file, config = installed.state / "leaf-cache.key", redis_config(installed, f"redis://127.0.0.1:{free_port()}/0")
    sealing.ensure(file)
    file.chmod(0o644)
    assert "other users" in told(shared_leaves.examine(config))["redis key"].detail
    file.write_text("nonsense")
    file.chmod(0o600)
    assert told(shared_leaves.examine(config))["redis key"].level is Level.FAIL


# -- the signer


@contextlib.contextmanager
def runs(installed: Installed) -> Iterator[None]:
    """As far as others can tell."""
    with (installed.state / "run" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.asynccontextmanager
async def signer(installed: Installed, config: AppConfig) -> AsyncIterator[None]:
    held = seats(config, "process")
    desk = LeafDesk(
        Mint(held, SystemClock()), {seat.authority.fingerprint: seat.ttl for seat in held}, SystemClock(), lambda _: None
    )
    with place.bind(installed.state / "run") as sock:
        server = SignerServer(sock, {WireKind.LEAF: desk.answer})
        server.start()
        try:
            yield
        finally:
            server.stop()


async def examined(config: AppConfig) -> dict[str, Finding]:
    return told(await asyncio.to_thread(lambda: list(signing.examine(config))))


async def test_tls_08_the_signer_signs(installed: Installed) -> None:
    config = installed.config()
    load_or_create(installed.state / "ca", "main", "Test CA")
    assert levels(await examined(config)) == {"key files": "ok", "signer": "ok"}, "it does not run"
    with runs(installed):
        async with signer(installed, config):
            found = await examined(config)
    assert levels(found) == {"key files": "ok", "signer socket": "ok", "signer for main": "ok"}


async def test_tls_08_no_signer_and_one_with_another_key(installed: Installed) -> None:
    config = installed.config()
    home = installed.state / "ca"
    load_or_create(home, "main", "Test CA")
    with runs(installed):
        assert levels(await examined(config)) == {"key files": "ok", "signer socket": "fail", "signer for main": "fail"}
        async with signer(installed, config):
            (installed.state / "run" / place.NAME).chmod(0o666)
            assert (await examined(config))["signer socket"].level is Level.FAIL
            shutil.rmtree(home / "main")
            load_or_create(home, "main", "Test CA")
            changed_ca = (await examined(config))["signer for main"]
    assert (changed_ca.level, "restart Arcus" in changed_ca.hint) == (Level.FAIL, True)


@pytest.mark.security
async def test_tls_08_a_key_that_others_can_read(installed: Installed) -> None:
    config = installed.config()
    (installed.state / "untrusted-ca" / "main").mkdir(parents=True)
    key = installed.state / "untrusted-ca" / "main" / "ca.key"
    key.write_text("key")
    key.chmod(0o640)
    finding = (await examined(config))["key files"]
    assert (finding.level, str(key) in finding.hint) == (Level.FAIL, True)


# -- certificates


def test_c17_client_certificates_good_late_mixed_up_and_open(installed: Installed) -> None:
    leaf, other = trustme.CA().issue_cert("client.test"), trustme.CA().issue_cert("client.test")
    certificate, key = installed.folder / "client.pem", installed.folder / "client.key"
    leaf.cert_chain_pems[0].write_to_path(str(certificate))
    leaf.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    node = "      client_certificates: [{name: bank, hosts: [bank.test], certificate: client.pem, private_key: client.key}]\n"
    config = installed.config(("      splice: [", f"{node}      splice: ["))
    what, clock = "client certificate bank", ManualClock(SystemClock().now())
    found = told(identities.client_certificates(config, clock))
    assert levels(found) == {what: "ok"}, found
    (identity,) = found.values()
    assert "valid until" in identity.detail
    end = load_identity("bank", certificate, key).not_after
    for left, level in ((15 * DAY, Level.OK), (13 * DAY, Level.WARN), (0.0, Level.FAIL)):
        assert told(identities.client_certificates(config, ManualClock(end - left)))[what].level is level
    other.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    assert "does not belong" in told(identities.client_certificates(config, clock))[what].detail
    key.chmod(0o644)
    assert "others can read" in told(identities.client_certificates(config, clock))[what].detail
    key.unlink()
    assert told(identities.client_certificates(config, clock))[what].level is Level.FAIL


def test_d8_the_cas_that_do_not_sign(installed: Installed) -> None:
    config, now = installed.config(), SystemClock().now()
    made = Generations(installed.state / "ca", "main")
    load_or_create(installed.state / "ca", "main", "Test CA")
    assert list(identities.generations(config)) == []
    spare = load_or_create(installed.folder / "spare", "main", "Next CA", validity_days=100)
    pem = spare.certificate.public_bytes(Encoding.PEM)
    made.install(Generation.NEXT, pem, spare.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert levels(told(identities.generations(config))) == {"CA main, next": "ok"}
    late = ManualClock(now + 80 * DAY)
    assert levels(told(identities.generations(config, late))) == {"CA main, next": "fail"}
    made.switch()
    assert levels(told(identities.generations(config, late))) == {"CA main, previous": "ok"}


# -- learning


def proposals(installed: Installed, config: AppConfig, number: int) -> None:
    store = SqliteStore(installed.state / "audit.db")
    entries = book(config, store)
    for index in range(number):
        key = Key("default", f"h{index}.test", "", Kind.PINNED)
        entries.open(key, State.PROPOSED, 9e9, Actor("policy"), "proposed", "why", Evidence())
    store.close()


@pytest.mark.parametrize(("days", "level"), [(0.0, {"proposals": "ok"}), (8.0, {"proposals": "warn", "decisions": "warn"})])
def test_d5_proposals_wait_for_a_person(installed: Installed, days: float, level: dict[str, str]) -> None:
    config = installed.config()
    proposals(installed, config, 2)
    clock = ManualClock(SystemClock().now() + days * DAY)
    assert levels(told(learning.examine(config, clock))) == {"learning": "ok", **level}


def test_d5_no_more_room(installed: Installed) -> None:
    config = installed.config(("      splice: [", "      exclusions: {learn: {max_entries: 1}}\n      splice: ["))
    proposals(installed, config, 1)
    found = told(learning.examine(config))
    assert (found["exclusions"].level, "max_entries" in found["exclusions"].hint) == (Level.WARN, True)


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda _: b"", lambda _: b"[]"])
def test_d5_a_list_for_workers_that_cannot_be_read(installed: Installed, damage: Callable[[bytes], bytes]) -> None:
    file = installed.state / "run" / "exclusions.json"
    file.write_bytes(to_snapshot(()))
    assert told(learning.examine(installed.config()))["exclusions"].detail == "0 hold"
    file.write_bytes(damage(file.read_bytes()))
    assert told(learning.examine(installed.config()))["exclusions"].level is Level.FAIL


def test_a_database_of_another_version_is_left_as_it_is(installed: Installed) -> None:
    file = installed.state / "audit.db"
    sqlite3.connect(file).close()
    file.write_bytes(b"")
    found = told(learning.examine(installed.config()))
    assert (found["exclusions"].level, file.read_bytes()) == (Level.WARN, b"")
