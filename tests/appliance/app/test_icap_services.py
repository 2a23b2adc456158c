"""Live services from configuration: made once, composed as it says (C6)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from appliance.app.icap_services import IcapServices, Place, longest
from appliance.app.scanners import Scanners
from appliance.config.root import AppConfig
from appliance.config.verdict_cache import VerdictCache
from appliance.domain.ids import TenantId
from appliance.domain.verdict import Outcome
from appliance.policy.scan_rules import MessageFacts
from appliance.telemetry.health import HealthReader, HealthWriter
from icap.client import IcapService, Identity
from tests.e2e.running import base_config
from tests.icap.client.fakes import trail
from tests.icap.client.messages import download, told, upload
from tests.icap.client.peer import NO_CONTENT, OPTIONS, ScriptedPeer, scripted
from tests.icap.client.test_health import Scanner
from tests.icap.client.test_service import answering
from tests.ports import free_port


def config(services: list[dict[str, Any]], *, sets: Any = (), chains: Any = (), use: str = "av", **auditor: Any) -> AppConfig:
    sections = {"icap_service": services, "icap_set": list(sets), "icap_chain": list(chains)}
    rules = {"icap_rules": [{"name": "rest", "use": use}]} if use else {}
    made = base_config(Path("/nowhere"), auditor=[{"name": "inspect", **rules, **auditor}], **sections)
    return TypeAdapter(AppConfig).validate_python(made)


def service(name: str, uri: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "uri": uri, "health": None} | more


@asynccontextmanager
async def made(configured: AppConfig, place: Place = Place()) -> AsyncIterator[IcapServices]:  # noqa: B008 - it is frozen
    services = IcapServices(configured, lambda _: None, place)
    yield services
    for client in services.clients:
        await client.close()


@asynccontextmanager
async def peers(number: int, answer: bytes = NO_CONTENT, options: bytes = OPTIONS % b"") -> AsyncIterator[list[ScriptedPeer]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(scripted(answering(answer), options)) for _ in range(number)]


async def test_c6_a_chain_is_walked_backwards_for_responses_and_without_those_that_cannot() -> None:
    async with peers(3) as (one, two, three):
        services = [
            service("a", one.uri),
            service("b", two.uri, methods=["REQMOD"]),
            service("c", three.uri),
        ]
        configured = config(services, chains=[{"name": "all", "links": ["a", "b", "c"]}], use="all")
        async with made(configured) as found:
            request = await found.named("all", "REQMOD").adapt(upload())
            response = await found.named("all", "RESPMOD").adapt(download())
            assert len(found.clients) == 3
    assert [name for name, _ in trail(request)] == ["a", "b", "c"]
    assert [name for name, _ in trail(response)] == ["c", "a"]


async def test_icp_06_a_set_goes_on_to_the_next_member_and_names_the_dead_one() -> None:
    async with peers(1) as (alive,):
        services = [service("dead", f"icap://127.0.0.1:{free_port()}/s"), service("alive", alive.uri)]
        configured = config(services, sets=[{"name": "pool", "services": ["dead", "alive"]}], use="pool")
        async with made(configured) as found:
            adapted = await found.named("pool", "RESPMOD").adapt(download())
    assert (told(adapted), trail(adapted)) == ((Outcome.CLEAN, "ok"), [("dead", "failed"), ("alive", "clean")])


async def test_icp_06_workers_begin_at_different_members() -> None:
    async with peers(2) as (one, two):
        services = [service("a", one.uri), service("b", two.uri)]
        configured = config(services, sets=[{"name": "pool", "services": ["a", "b"], "strategy": "round_robin"}], use="pool")
        first = []
        for index in range(2):
            async with made(configured, Place(index, 2)) as found:
                first.append((await found.named("pool", "RESPMOD").adapt(download())).verdict.service)
    assert first == ["a", "b"]


async def test_icp_06_what_members_say_about_failures_does_not_count_inside_a_set() -> None:
    """A member that would bypass must not let a message pass while another could judge it."""
    services = [service("dead", f"icap://127.0.0.1:{free_port()}/s", on_error="bypass")]
    configured = config(services, sets=[{"name": "pool", "services": ["dead"]}], use="pool")
    async with made(configured) as found:
        assert (await found.named("pool", "RESPMOD").adapt(download())).verdict.outcome is Outcome.ERROR
        assert (await found.named("dead", "RESPMOD").adapt(download())).verdict.outcome is Outcome.BYPASSED


@pytest.mark.parametrize(
    ("policy", "outcome"), [({"on_overload": "block"}, Outcome.ERROR), ({"on_overload": "bypass"}, Outcome.BYPASSED)]
)
async def test_icap_c17_overload_is_decided_at_once(policy: dict[str, Any], outcome: Outcome) -> None:
    scanner = Scanner()
    async with scripted(scanner) as peer:
        configured = config([service("av", peer.uri, max_connections=1, **policy)])
        async with made(configured) as found:
            av = found.named("av", "RESPMOD")
            await av.adapt(download())
            scanner.answering.clear()
            first = asyncio.ensure_future(av.adapt(download()))
            await asyncio.sleep(0)
            assert told(await av.adapt(download())) == (outcome, "icap_overload")
            scanner.answering.set()
            assert told(await first) == (Outcome.CLEAN, "ok")


@pytest.mark.parametrize(("limits", "words"), [({"queue": 0}, "are busy"), ({"queue_timeout": 0.05}, "became free in time")])
async def test_icap_c17_waiting_is_bounded_in_number_and_time(limits: dict[str, Any], words: str) -> None:
    scanner = Scanner()
    async with scripted(scanner) as peer:
        configured = config([service("av", peer.uri, max_connections=1, on_error="bypass", **limits)])
        async with made(configured) as found:
            av = found.named("av", "RESPMOD")
            await av.adapt(download())
            scanner.answering.clear()
            first = asyncio.ensure_future(av.adapt(download()))
            await asyncio.sleep(0)
            adapted = await av.adapt(download())
            assert told(adapted) == (Outcome.BYPASSED, "icap_overload")
            assert words in adapted.verdict.detail
            scanner.answering.set()
            await first


@pytest.mark.parametrize(
    ("advertised", "workers", "limit"), [(8, 1, 8), (8, 4, 2), (9, 4, 2), (2, 4, 1), (1000, 4, 64), (0, 4, 64)]
)
async def test_icap_c17_what_a_service_allows_is_divided_among_the_workers(advertised: int, workers: int, limit: int) -> None:
    options = OPTIONS % (b"Max-Connections: %d\r\n" % advertised)
    async with peers(1, options=options) as (peer,), made(config([service("av", peer.uri)]), Place(0, workers)) as found:
        await found.named("av", "RESPMOD").adapt(download())
        assert found.clients[0].connection_limit == limit


async def test_icap_c37_the_first_byte_has_a_time_of_its_own() -> None:
    scanner = Scanner()
    async with scripted(scanner) as peer:
        configured = config([service("av", peer.uri, first_byte_timeout=0.1)])
        async with made(configured) as found:
            av = found.named("av", "RESPMOD")
            await av.adapt(download())
            scanner.answering.clear()
            adapted = await av.adapt(download())
    assert (told(adapted), adapted.verdict.detail) == ((Outcome.ERROR, "icap_timeout"), "no answer within 0.1 s")


async def test_c36_repeats_are_configured() -> None:
    failing = peers(1, b"ICAP/1.0 500 Error\r\n\r\n")
    async with failing as (peer,), made(config([service("av", peer.uri, repeats=2)])) as found:
        adapted = await found.named("av", "RESPMOD").adapt(download())
    assert trail(adapted) == [("av", "failed"), ("av", "failed"), ("av", "error")]


async def test_icp_07_identity_goes_only_to_services_that_may_have_it() -> None:
    async with peers(2) as (one, two):
        services = [service("a", one.uri), service("b", two.uri, send_identity=False)]
        configured = config(services, chains=[{"name": "all", "links": ["a", "b"]}], use="all")
        async with made(configured) as found:
            await found.named("all", "RESPMOD").adapt(download(identity=Identity(tenant="blue")))
    assert (b"X-Tenant-ID: blue" in one.received, b"X-Tenant-ID" in two.received) == (True, False)


def test_the_hook_may_take_as_long_as_the_services_together() -> None:
    services = [service("a", "icap://h/a", timeout=5), service("b", "icap://h/b", timeout=7, repeats=2)]
    both = config(services, chains=[{"name": "all", "links": ["a", "b"]}], use="all", icap_respmod_service="icap://h/c")
    chain = config(services, chains=[{"name": "all", "links": ["a", "b"]}], use="all")
    scanned_each_time = [each.model_copy(update={"verdict_cache": VerdictCache(enabled=False)}) for each in (both, chain)]
    assert [max(longest(each)) for each in scanned_each_time] == [30.0, 26.0]
    assert max(longest(chain)) == 39.0  # each may wait for another message's scan first


async def test_icp_14_a_service_that_is_down_is_degraded_health_with_its_reason(tmp_path: Path) -> None:
    scanner = Scanner(infected=NO_CONTENT)
    async with scripted(scanner) as peer:
        configured = config([{"name": "av", "uri": peer.uri, "health": {"interval": 3600}}])
        scanners = Scanners(configured, {}, lambda _: None)
        [client] = scanners.clients
        health = HealthWriter(tmp_path, "worker-0")
        scanners.sample(health)
        before = HealthReader(tmp_path).read().processes["worker-0"].components["icap av"]
        scanning = scanners.by_tenant[TenantId("default")]
        route = scanning.rules.choose("response", lambda: MessageFacts("GET", "h"))
        await scanning.services[route.use, "response"].adapt(download())
        scanners.sample(health)
        health.heartbeat()
        after = HealthReader(tmp_path).read().processes["worker-0"].components["icap av"]
        await scanners.close()
    assert (before.state.value, before.detail) == ("degraded", "not checked yet")
    assert after.state.value == "degraded"
    assert after.detail.startswith("the infected test message came back clean: ")
    assert "health: null" in after.detail
    assert client.stats.probes == {"icap_unhealthy": 1}


async def test_icp_14_the_short_form_is_checked_too_and_may_be_left_alone() -> None:
    async with made(config([], use="", icap_respmod_service="icap://h/s")) as found:
        auditor = found._config.auditor[0]
        checked: IcapService = found.short_client(auditor, "icap://h/s")
        assert checked.checked
    async with made(config([], use="", icap_respmod_service="icap://h/s", icap_health=None)) as found:
        assert not found.short_client(found._config.auditor[0], "icap://h/s").checked


@pytest.mark.parametrize("wanted", [False, True])
async def test_icap_c28_206_is_asked_for_where_it_is_wanted_and_offered(wanted: bool) -> None:
    options = (OPTIONS % b"").replace(b"Allow: 204", b"Allow: 204, 206")
    async with peers(1, options=options) as (peer,), made(config([service("av", peer.uri, allow_206=wanted)])) as found:
        assert told(await found.named("av", "RESPMOD").adapt(download())) == (Outcome.CLEAN, "ok")
    assert (b"Allow: 204, 206\r\n" in peer.received.partition(b"RESPMOD")[2]) is wanted


@pytest.mark.parametrize(("honoured", "outcome"), [(False, Outcome.CLEAN), (True, Outcome.SKIPPED)])
async def test_icap_c16_transfer_ignore_is_honoured_only_where_it_is_wanted(honoured: bool, outcome: Outcome) -> None:
    """The path of the message ends in ``.exe``, which an attacker may choose."""
    options = OPTIONS % b"Transfer-Ignore: exe\r\nTransfer-Preview: *\r\n"
    configured = config([service("av", "icap://h/s", honour_transfer_ignore=honoured)])
    async with peers(1, options=options) as (peer,):
        node = configured.icap_service[0].model_copy(update={"uri": peer.uri})
        async with made(configured.model_copy(update={"icap_service": [node]})) as found:
            assert (await found.named("av", "RESPMOD").adapt(download())).verdict.outcome is outcome
