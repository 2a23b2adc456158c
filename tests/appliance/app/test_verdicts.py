"""Kept verdicts around live services: our ICAP server, the ISTag of real scanners, tenants, and the sealed tier."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from appliance.app.icap_services import IcapServices, longest
from appliance.app.verdicts import SealedTier, Verdicts
from appliance.config.icap_service import IcapService as Node
from appliance.config.load import parse
from appliance.config.root import AppConfig
from appliance.config.verdict_cache import VerdictCache
from appliance.domain.clock import ManualClock
from appliance.domain.errors import ConfigError
from appliance.domain.verdict import Outcome, ScanVerdict
from appliance.telemetry.metrics import Metrics
from certs.sealing import KeyRing
from certs.tiers import Away
from icap.client import IcapService, Message
from icap.client.kept import Kept, Key
from icap.server.scanners.hashes import HashScanner, HashSettings
from icap.server.scanners.panel import Panel, Seat
from icap.server.scanners.scanner import Grounds
from tests.e2e.running import base_config
from tests.icap.server.scanners.scripted import Scripted
from tests.icap.server.serving import Running, serving

REQUEST = b"GET http://o.test/f HTTP/1.1\r\nHost: o.test\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"


def message(body: bytes = b"body", tenant: str = "a") -> Message:
    return Message("RESPMOD", REQUEST, RESPONSE, body, tenant=tenant)


@dataclass
class DictStore:
    """``certs.tiers.Store`` in a dictionary, that can be away."""

    held: dict[str, bytes] = field(default_factory=dict)
    away: bool = False

    async def get(self, key: str, limit: int) -> bytes | None:
        if self.away:
            raise Away("away")
        return self.held.get(key, b"")[:limit] or None

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        if self.away:
            raise Away("away")
        self.held[key] = value

    async def claim(self, key: str, seconds: float) -> bool:
        raise AssertionError

    async def release(self, key: str) -> None:
        raise AssertionError


def ring(number: int = 1) -> KeyRing:
    return KeyRing(bytes([number]) * 32, [bytes([number + 1]) * 32])


@asynccontextmanager
async def kept(running: Running, tier: SealedTier | None = None, **config: Any) -> AsyncIterator[Any]:
    """One worker's way to our server: ``adapt``, and its metrics."""
    metrics = Metrics()
    verdicts = Verdicts(VerdictCache(**config), metrics, ManualClock(), tier)
    client = IcapService(f"icap://127.0.0.1:{running.port}/respmod", name="own")
    node = Node.model_validate({"name": "own", "uri": f"icap://127.0.0.1:{running.port}/respmod"})
    try:
        yield verdicts.named(client, node)
    finally:
        await client.close()
        await verdicts.close()


async def test_c7_our_own_server_is_asked_once_for_a_body() -> None:
    scanner = Scripted()
    async with serving(scanner) as running, kept(running) as service:
        outcomes = [(await service.adapt(message())).verdict for _ in range(3)]
    assert [verdict.cached for verdict in outcomes] == [False, True, True]
    assert len(running.ledger.accounts) == 2  # OPTIONS and one RESPMOD


async def test_c7_a_changed_list_ends_what_was_clean(tmp_path: Path) -> None:
    """A body that becomes known as bad is blocked at the next question: the new list is another ISTag."""
    file = tmp_path / "list"
    file.write_text("0" * 64)
    listed = HashScanner(HashSettings((file,)))
    await listed.reload()
    async with serving(Panel([Seat("av", Scripted()), Seat("listed", listed)])) as running, kept(running) as service:
        assert (await service.adapt(message())).verdict.outcome is Outcome.CLEAN
        assert (await service.adapt(message())).verdict.cached
        file.write_text(hashlib.sha256(b"body").hexdigest())
        await listed.reload()
        await service.adapt(message(b"another that tells the new tag"))
        answer = await service.adapt(message())
    assert (answer.verdict.outcome, answer.verdict.cached) == (Outcome.BLOCKED, False)


async def test_c7_a_server_that_judges_by_names_keeps_nothing() -> None:
    async with serving(Scripted(grounds=Grounds.HEAD)) as running, kept(running) as service:
        for _ in range(3):
            assert not (await service.adapt(message())).verdict.cached


@pytest.mark.security
async def test_tenant_through_a_live_service() -> None:
    async with serving(Scripted()) as running:
        async with kept(running) as service:
            await service.adapt(message(tenant="a"))
            assert not (await service.adapt(message(tenant="b"))).verdict.cached
        async with kept(running, scope="policy") as service:
            await service.adapt(message(tenant="a"))
            assert (await service.adapt(message(tenant="b"))).verdict.cached


async def test_no_configuration_no_cache() -> None:
    verdicts = Verdicts(VerdictCache(enabled=False), Metrics(), ManualClock(), None)
    client = IcapService("icap://127.0.0.1:1/x")
    assert verdicts._around(client, 1.0) is client
    await client.close()


# -- the sealed tier -----------------------------------------------------------------------------------------------------------

KEY = Key("policy", "RESPMOD", b"", 4, hashlib.sha256(b"body").hexdigest())
VERDICT = Kept(ScanVerdict("own", "RESPMOD", Outcome.CLEAN, sha256=KEY.digest, by_body=True, istag="t"), 1.0)


async def put(tier: SealedTier, scope: str = "a", key: Key = KEY) -> None:
    tier.put(scope, key, VERDICT, 60)
    await asyncio.gather(*tier._writes)


@pytest.mark.security
async def test_rds_nothing_can_be_read_in_the_store_and_nothing_moved_in_it() -> None:
    store = DictStore()
    tier = SealedTier(store, ring())
    await put(tier)
    assert await tier.get("a", KEY) == VERDICT
    [(place, sealed)] = store.held.items()
    assert b"CLEAN" not in sealed
    assert b"clean" not in sealed
    assert KEY.digest not in place
    other = Key(**{name: getattr(KEY, name) for name in Key.__slots__} | {"digest": hashlib.sha256(b"virus").hexdigest()})
    for scope, key in (("b", KEY), ("a", other), ("", KEY)):
        assert await tier.get(scope, key) is None
        store.held[tier._place(scope, key)] = sealed  # a hostile neighbour copies it there
        assert await tier.get(scope, key) is None


@pytest.mark.security
@pytest.mark.parametrize(
    "forge", [lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1]), lambda sealed: b"", lambda sealed: b"x" * 40_000]
)
async def test_rds_what_was_changed_in_the_store_is_no_verdict(forge: Any) -> None:
    store = DictStore()
    tier = SealedTier(store, ring())
    await put(tier)
    store.held = {place: forge(sealed) for place, sealed in store.held.items()}
    assert await tier.get("a", KEY) is None


async def test_rds_another_installations_keys_open_nothing() -> None:
    store = DictStore()
    await put(SealedTier(store, ring(1)))
    assert await SealedTier(store, ring(5)).get("a", KEY) is None


async def test_rds_07_a_store_that_is_away_is_as_if_there_were_none() -> None:
    tier = SealedTier(DictStore(away=True), ring())
    await put(tier)
    assert await tier.get("a", KEY) is None


async def test_rds_two_workers_share_through_the_tier() -> None:
    store = DictStore()
    async with serving(Scripted()) as running:
        async with kept(running, SealedTier(store, ring())) as service:
            await service.adapt(message())
            await asyncio.sleep(0)
        async with kept(running, SealedTier(store, ring())) as service:
            await service.adapt(message(b"hears of the tag"))
            assert (await service.adapt(message())).verdict.cached
        async with kept(running, SealedTier(store, ring()), redis=False) as service:
            await service.adapt(message(b"hears of the tag"))
            assert not (await service.adapt(message())).verdict.cached


# -- configuration -------------------------------------------------------------------------------------------------------------


def test_a_hook_may_take_the_wait_for_another_as_well() -> None:
    auditor = [{"name": "inspect", "icap_respmod_service": "icap://127.0.0.1:1/x", "icap_timeout": "10s"}]
    given = base_config(Path("/nowhere"), auditor=auditor)
    assert list(longest(TypeAdapter(AppConfig).validate_python(given))) == [15.0]
    assert list(longest(TypeAdapter(AppConfig).validate_python(given | {"verdict_cache": {"enabled": False}}))) == [10.0]


@pytest.mark.parametrize(
    ("services", "told"),
    [
        ([{"service": "av9"}], "no icap_service is called 'av9'"),
        ([{"service": "av"}, {"service": "av"}], "'av' is listed twice"),
    ],
)
def test_cfg_a_service_that_is_not_there(tmp_path: Path, services: list[Any], told: str) -> None:
    import json

    listed = [{"name": "av", "uri": "icap://127.0.0.1:1/x"}]
    given = base_config(tmp_path, icap_service=listed, verdict_cache={"services": services})
    with pytest.raises(ConfigError) as caught:
        parse(json.dumps(given), file="arcus.yaml", base=tmp_path)
    assert told in str(caught.value)


def test_short_forms_are_kept_too(tmp_path: Path) -> None:
    from icap.client.fail_policy import FailPolicy
    from icap.client.verdict_cache import CachingService

    auditor = [{"name": "inspect", "icap_respmod_service": "icap://127.0.0.1:1/x"}]
    config = TypeAdapter(AppConfig).validate_python(base_config(tmp_path, auditor=auditor))
    services = IcapServices(config, lambda _: None, verdicts=Verdicts(VerdictCache(), Metrics(), ManualClock(), None))
    short = services.short(config.auditor[0], "icap://127.0.0.1:1/x")
    assert isinstance(short, FailPolicy)
    assert isinstance(short._service, CachingService)
