"""C7, ICAP-C21: kept verdicts: used for the same question only, ended by the ISTag and by time, made once for many."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from icap.client.body import Body
from icap.client.kept import MAX_BYTES, Kept, Key, coding_of, facts_of
from icap.client.message import Adapted, Identity, Message
from icap.client.verdict_cache import CachingService, Found, Tags, Terms
from icap.client.verdict_memory import VerdictMemory

REQUEST = b"GET http://o.test/f HTTP/1.1\r\nHost: o.test\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"


def message(body: bytes | Body | None = b"body", tenant: str = "a", response: bytes = RESPONSE, **more: object) -> Message:
    return Message("RESPMOD", REQUEST, response, body, tenant=tenant, **more)  # type: ignore[arg-type]


@dataclass
class Scan:
    """A service that answers as ``verdict`` says, and counts."""

    verdict: ScanVerdict = field(
        default_factory=lambda: ScanVerdict("icap://s/x", "RESPMOD", Outcome.CLEAN, icap_status=204, ms=12.5, by_body=True)
    )
    istag: str = "one"
    asked: list[Message] = field(default_factory=list)
    gate: asyncio.Event | None = None
    change: Callable[[Adapted], Adapted] = lambda adapted: adapted

    async def adapt(self, message: Message) -> Adapted:
        self.asked.append(message)
        if self.gate is not None:
            await self.gate.wait()
        body = message.body
        if isinstance(body, Body):
            body = b"".join([piece async for piece in body.pieces()])
        verdict = replace(
            self.verdict, istag=self.istag, size=len(body or b""), sha256=sha256(body).hexdigest() if body else ""
        )
        return self.change(Adapted(verdict))


@dataclass
class Bench:
    service: Scan = field(default_factory=Scan)
    clock: ManualClock = field(default_factory=ManualClock)
    memory: VerdictMemory = field(default_factory=lambda: VerdictMemory(100))
    told: list[Found] = field(default_factory=list)
    terms: Terms = field(default_factory=lambda: Terms("p", 60.0))

    def caching(self, tier: object = None, patience: float = 5.0, terms: Terms | None = None, **more: object) -> CachingService:
        tags = Tags(lambda: self.service.istag, self.clock, 10.0)
        terms, told = terms or self.terms, self.told.append
        return CachingService(
            self.service,
            terms,
            self.memory,
            tags,
            self.clock,
            patience=patience,
            tier=tier,
            told=told,
            **more,  # type: ignore[arg-type]
        )

    @property
    def scans(self) -> int:
        return len(self.service.asked)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_the_same_body_is_scanned_once_and_the_record_says_so(bench: Bench) -> None:
    caching = bench.caching()
    first = await caching.adapt(message())
    bench.clock.advance(7.0)
    again = await caching.adapt(message())
    assert bench.scans == 1
    assert (first.verdict.cached, again.verdict.cached) == (False, True)
    assert (again.verdict.age, again.verdict.scan_ms) == (7.0, 12.5)
    assert (again.verdict.outcome, again.verdict.sha256) == (Outcome.CLEAN, sha256(b"body").hexdigest())
    assert bench.told == [Found.MISS, Found.HIT]
    assert bench.service.asked[0].sha256 == sha256(b"body").hexdigest()


async def test_an_infected_body_is_blocked_again(bench: Bench) -> None:
    bench.service.verdict = replace(
        bench.service.verdict, outcome=Outcome.BLOCKED, reason=Reason.MALWARE_FOUND, signature="Bad", icap_status=200
    )
    bench.service.change = lambda adapted: replace(adapted, kind="response", head=b"HTTP/1.1 403 No\r\n\r\n", body=b"page")
    caching = bench.caching()
    await caching.adapt(message())
    again = await caching.adapt(message())
    assert (again.verdict.outcome, again.verdict.signature, again.head) == (Outcome.BLOCKED, "Bad", None)
    assert bench.scans == 1


NEVER = {
    "error": lambda adapted: Adapted(
        replace(adapted.verdict, outcome=Outcome.ERROR, reason=Reason.ICAP_ERROR, icap_status=500)
    ),
    "bypass": lambda adapted: Adapted(replace(adapted.verdict, outcome=Outcome.BYPASSED)),
    "skipped": lambda adapted: Adapted(replace(adapted.verdict, outcome=Outcome.SKIPPED)),
    "modified": lambda adapted: replace(adapted, kind="response", head=RESPONSE, body=b"x"),
    "modified outcome": lambda adapted: Adapted(replace(adapted.verdict, outcome=Outcome.MODIFIED)),
    "not looked into": lambda adapted: Adapted(replace(adapted.verdict, unscanned="encrypted")),
    "other size": lambda adapted: Adapted(replace(adapted.verdict, size=3)),
    "no istag": lambda adapted: Adapted(replace(adapted.verdict, istag="")),
    "no answer": lambda adapted: Adapted(replace(adapted.verdict, icap_status=0)),
    "by the head": lambda adapted: Adapted(replace(adapted.verdict, by_body=False)),
    "cut off": lambda adapted: Adapted(
        replace(adapted.verdict, outcome=Outcome.BLOCKED, reason=Reason.ICAP_PROTOCOL, detail="Content-Length 9, but 4 came")
    ),
    "blocked without a name": lambda adapted: Adapted(replace(adapted.verdict, outcome=Outcome.BLOCKED)),
    "of several": lambda adapted: replace(adapted, links=(adapted.verdict, adapted.verdict)),
    "repaired": lambda adapted: Adapted(replace(adapted.verdict, signature="Bad")),
}


@pytest.mark.parametrize("what", NEVER)
async def test_never_kept(bench: Bench, what: str) -> None:
    bench.service.change = NEVER[what]  # type: ignore[assignment]
    caching = bench.caching()
    for _ in range(3):
        await caching.adapt(message())
    assert bench.scans == 3
    assert len(bench.memory) == 0


async def test_icap_c21_a_new_istag_ends_every_verdict(bench: Bench) -> None:
    caching = bench.caching()
    await caching.adapt(message())
    bench.service.istag = "two"
    assert not (await caching.adapt(message())).verdict.cached
    assert (await caching.adapt(message())).verdict.cached


async def test_icap_c21_a_service_that_was_not_heard_of_lately_is_asked(bench: Bench) -> None:
    caching = bench.caching()
    await caching.adapt(message())
    bench.clock.advance(9.9)
    assert (await caching.adapt(message())).verdict.cached
    bench.clock.advance(0.2)
    assert not (await caching.adapt(message())).verdict.cached
    assert (await caching.adapt(message())).verdict.cached


async def test_a_failing_service_confirms_nothing(bench: Bench) -> None:
    caching = bench.caching()
    await caching.adapt(message())
    bench.clock.advance(11)
    bench.service.change = NEVER["error"]  # type: ignore[assignment]
    await caching.adapt(message(b"other"))
    assert not (await caching.adapt(message())).verdict.cached


@pytest.mark.parametrize(("age", "cached"), [(59.9, True), (60.0, False), (-5.0, False)])
async def test_the_time_limit_is_exact_and_a_clock_set_back_ends_it(bench: Bench, age: float, cached: bool) -> None:
    caching = bench.caching()
    await caching.adapt(message())
    bench.clock.time += age
    assert (await caching.adapt(message())).verdict.cached is cached


async def test_no_body_is_a_body_like_any_other(bench: Bench) -> None:
    """What judges by the body alone need not be asked about requests without one."""
    caching, ended = bench.caching(), Body()
    ended.end()
    verdicts = [(await caching.adapt(message(body))).verdict for body in (None, b"", ended, None)]
    assert [verdict.cached for verdict in verdicts] == [False, True, True, True]
    assert (verdicts[1].sha256, verdicts[1].size) == ("", 0)
    assert not (await caching.adapt(message(b"x"))).verdict.cached
    assert not (await caching.adapt(message(None, tenant="b"))).verdict.cached
    ended.close()


async def test_no_body_is_asked_for_where_the_head_is_judged(bench: Bench) -> None:
    bench.service.verdict = replace(bench.service.verdict, by_body=False)
    caching = bench.caching()
    for _ in range(3):
        assert not (await caching.adapt(message(None))).verdict.cached


@given(st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64))
async def test_poisoning_only_the_very_same_bytes_are_answered(one: bytes, two: bytes) -> None:
    bench = Bench()
    caching = bench.caching()
    await caching.adapt(message(one))
    assert (await caching.adapt(message(two))).verdict.cached is (one == two)


@pytest.mark.parametrize("claimed", [sha256(b"clean").hexdigest(), "", "x"])
async def test_poisoning_a_claimed_hash_counts_for_nothing(bench: Bench, claimed: str) -> None:
    caching = bench.caching()
    await caching.adapt(message(b"clean"))
    assert not (await caching.adapt(message(b"virus", sha256=claimed))).verdict.cached
    assert bench.service.asked[-1].sha256 == sha256(b"virus").hexdigest()


async def test_poisoning_the_same_bytes_under_another_coding_are_another_body(bench: Bench) -> None:
    caching = bench.caching()
    await caching.adapt(message())
    packed = RESPONSE.replace(b"\r\n\r\n", b"\r\nCONTENT-Encoding: gzip\r\n\r\n")
    assert not (await caching.adapt(message(response=packed))).verdict.cached
    assert not (await caching.adapt(Message("REQMOD", REQUEST, None, b"body", tenant="a"))).verdict.cached


async def test_tenant_a_verdict_is_used_for_its_own_tenant_only(bench: Bench) -> None:
    caching = bench.caching()
    await caching.adapt(message(tenant="a"))
    assert not (await caching.adapt(message(tenant="b"))).verdict.cached
    assert not (await caching.adapt(message(tenant=""))).verdict.cached
    assert (await caching.adapt(message(tenant="a"))).verdict.cached


async def test_tenants_share_where_the_policy_is_the_same_and_nowhere_else(bench: Bench) -> None:
    shared = replace(bench.terms, by_tenant=False)
    caching = bench.caching(terms=shared)
    await caching.adapt(message(tenant="a"))
    assert (await caching.adapt(message(tenant="b"))).verdict.cached
    other = bench.caching(terms=replace(shared, policy="q"))
    assert not (await other.adapt(message(tenant="b"))).verdict.cached


async def test_tenant_one_cannot_push_out_anothers_verdicts(bench: Bench) -> None:
    bench.memory = VerdictMemory(3)
    caching = bench.caching()
    await caching.adapt(message(tenant="a"))
    for number in range(20):
        await caching.adapt(message(b"%d" % number, tenant="b"))
    assert (await caching.adapt(message(tenant="a"))).verdict.cached
    assert len(bench.memory) == 4
    assert bench.memory.evicted == 17


async def test_a_service_that_judges_by_the_message_is_asked_for_each_message(bench: Bench) -> None:
    bench.service.verdict = replace(bench.service.verdict, by_body=False)
    caching = bench.caching(terms=replace(bench.terms, judges="message"))
    await caching.adapt(message())
    assert (await caching.adapt(message())).verdict.cached
    others = (
        message(response=RESPONSE.replace(b"plain", b"html")),
        message(identity=Identity(user="eve")),
        message(identity=Identity(client_ip="10.0.0.1")),
        replace(message(), request_head=REQUEST.replace(b"/f", b"/g")),
    )
    for other in others:
        assert not (await caching.adapt(other)).verdict.cached


async def test_the_operators_word_for_a_service_that_does_not_say(bench: Bench) -> None:
    bench.service.verdict = replace(bench.service.verdict, by_body=False)
    caching = bench.caching(terms=replace(bench.terms, judges="body"))
    await caching.adapt(message())
    assert (await caching.adapt(message(response=RESPONSE.replace(b"plain", b"html")))).verdict.cached


# -- many at once ---------------------------------------------------------------------------------------------------------


async def started(bench: Bench, caching: CachingService, count: int) -> list[asyncio.Task[Adapted]]:
    bench.service.gate = asyncio.Event()
    tasks = [asyncio.create_task(caching.adapt(message())) for _ in range(count)]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


async def test_ten_clients_of_one_file_scan_it_once(bench: Bench) -> None:
    tasks = await started(bench, bench.caching(), 10)
    assert bench.scans == 1
    assert bench.service.gate is not None
    bench.service.gate.set()
    results = await asyncio.gather(*tasks)
    assert bench.scans == 1
    assert [result.verdict.cached for result in results] == [False, *[True] * 9]
    assert bench.told.count(Found.JOINED) == 9


async def test_a_leader_that_fails_fails_alone(bench: Bench) -> None:
    tasks = await started(bench, bench.caching(), 5)
    failures = iter([True, False, False, False, False])
    error = NEVER["error"]
    bench.service.change = lambda adapted: error(adapted) if next(failures) else adapted
    assert bench.service.gate is not None
    bench.service.gate.set()
    outcomes = [(await task).verdict.outcome for task in tasks]
    assert outcomes == [Outcome.ERROR, *[Outcome.CLEAN] * 4]
    assert bench.scans > 1


async def test_a_leader_whose_client_leaves_takes_nobody_along(bench: Bench) -> None:
    tasks = await started(bench, bench.caching(), 3)
    tasks[0].cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert bench.service.gate is not None
    bench.service.gate.set()
    results = await asyncio.gather(*tasks[1:])
    assert {result.verdict.outcome for result in results} == {Outcome.CLEAN}
    assert (await bench.caching().adapt(message(b"next"))).verdict.outcome is Outcome.CLEAN


async def test_those_who_wait_have_their_own_deadline(bench: Bench) -> None:
    tasks = await started(bench, bench.caching(patience=0.01), 3)
    while bench.scans < 3:
        await asyncio.sleep(0.005)
    assert bench.service.gate is not None
    bench.service.gate.set()
    assert {result.verdict.outcome for result in await asyncio.gather(*tasks)} == {Outcome.CLEAN}


async def test_tenants_do_not_wait_for_each_other(bench: Bench) -> None:
    caching = bench.caching()
    bench.service.gate = asyncio.Event()
    tasks = [asyncio.create_task(caching.adapt(message(tenant=tenant))) for tenant in "abc"]
    for _ in range(10):
        await asyncio.sleep(0)
    assert bench.scans == 3
    bench.service.gate.set()
    await asyncio.gather(*tasks)


# -- bodies that arrive ----------------------------------------------------------------------------------------------------


async def test_a_body_that_is_still_arriving_is_scanned_and_kept_for_the_next(bench: Bench) -> None:
    caching, body = bench.caching(), Body()
    scan = asyncio.create_task(caching.adapt(message(body)))
    body.feed(b"bo")
    await asyncio.sleep(0)
    body.feed(b"dy")
    body.end()
    assert not (await scan).verdict.cached
    assert bench.told == [Found.UNKNOWN]
    assert (await caching.adapt(message(b"body"))).verdict.cached
    assert (await caching.adapt(message(body))).verdict.cached
    body.close()


async def test_half_a_body_is_never_kept(bench: Bench) -> None:
    body = Body()
    body.feed(b"bo")
    bench.service.change = lambda adapted: adapted

    class Early(Scan):
        async def adapt(self, message: Message) -> Adapted:
            return Adapted(replace(self.verdict, istag=self.istag, size=2, sha256=sha256(b"bo").hexdigest()))

    bench.service = Early()
    await bench.caching().adapt(message(body))
    assert len(bench.memory) == 0
    body.close()


# -- the tier, and what is written down ---------------------------------------------------------------------------------------


@dataclass
class Shelf:
    """A tier in a dictionary."""

    held: dict[tuple[str, Key], Kept] = field(default_factory=dict)

    async def get(self, scope: str, key: Key) -> Kept | None:
        return self.held.get((scope, key))

    def put(self, scope: str, key: Key, kept: Kept, seconds: float) -> None:
        self.held[scope, key] = kept


async def test_rds_another_worker_finds_it_in_the_tier(bench: Bench) -> None:
    shelf, other = Shelf(), Bench(clock=bench.clock)
    await bench.caching(shelf).adapt(message())
    caching = other.caching(shelf)
    # it has not heard of the service yet, so that it does not know whether the verdict still counts
    assert not (await caching.adapt(message())).verdict.cached
    await bench.caching(shelf).adapt(message(b"new"))
    assert (await caching.adapt(message(b"new"))).verdict.cached
    assert Found.SHARED in other.told
    assert (await caching.adapt(message(b"new", tenant="b"))).verdict.cached is False


@pytest.mark.parametrize(
    "forged",
    [
        {"sha256": sha256(b"other").hexdigest()},
        {"istag": "two"},
        {"by_body": False},
    ],
)
async def test_rds_what_does_not_fit_in_the_tier_is_not_believed(bench: Bench, forged: dict[str, object]) -> None:
    shelf = Shelf()
    caching = bench.caching(shelf)
    await caching.adapt(message(b"hear"))
    await caching.adapt(message())
    bench.memory = VerdictMemory(10)
    shelf.held = {
        place: replace(kept, verdict=replace(kept.verdict, **forged))  # type: ignore[arg-type]
        for place, kept in shelf.held.items()
    }
    fresh = bench.caching(shelf)
    await fresh.adapt(message(b"hear more"))
    assert not (await fresh.adapt(message())).verdict.cached


async def test_rds_a_verdict_in_the_tier_ends_in_time_whatever_the_tier_says(bench: Bench) -> None:
    shelf = Shelf()
    await bench.caching(shelf).adapt(message())
    bench.clock.advance(61)
    fresh = Bench(service=bench.service, clock=bench.clock).caching(shelf)
    await fresh.adapt(message(b"hear"))
    assert not (await fresh.adapt(message())).verdict.cached


TEXT = st.text(max_size=20)


@given(TEXT, TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=3), st.sampled_from([Outcome.CLEAN, Outcome.BLOCKED]))
def test_a_verdict_is_read_as_it_was_written(name: str, istag: str, headers: list[tuple[str, str]], outcome: Outcome) -> None:
    verdict = ScanVerdict(name, "RESPMOD", outcome, Reason.MALWARE_FOUND, istag=istag, headers=tuple(headers), scanners=(name,))
    kept = Kept(verdict, 12.5)
    assert Kept.from_bytes(kept.to_bytes()) == kept
    assert len(kept.to_bytes()) < MAX_BYTES


LISTS = st.recursive(st.none() | st.text(), lambda inner: st.lists(inner))


@given(st.binary(max_size=200) | LISTS.map(json.dumps).map(str.encode))
def test_anything_else_is_no_verdict(data: bytes) -> None:
    with pytest.raises(ValueError):
        Kept.from_bytes(data)


@pytest.mark.parametrize("change", [{"v": 2}, {"outcome": "error"}, {"outcome": "bypassed"}, {"reason": "x"}, {"ms": None}])
def test_a_written_verdict_that_is_none(change: dict[str, object]) -> None:
    text = json.loads(Kept(ScanVerdict("s", "RESPMOD", Outcome.CLEAN), 1.0).to_bytes())
    with pytest.raises(ValueError):
        Kept.from_bytes(json.dumps(text | change).encode())


@given(st.tuples(TEXT, TEXT), st.tuples(TEXT, TEXT))
def test_different_keys_are_written_differently(one: tuple[str, str], two: tuple[str, str]) -> None:
    keys = [Key(policy, "RESPMOD", b"", 1, "d", facts).to_bytes() for policy, facts in (one, two)]
    assert (keys[0] == keys[1]) is (one == two)


def test_the_head_that_belongs_to_the_body_says_its_coding() -> None:
    request = b"POST http://o.test/ HTTP/1.1\r\nHost: o.test\r\nContent-Encoding: GZIP\r\nContent-encoding: br\r\n\r\n"
    assert coding_of(Message("REQMOD", request, None, b"x")) == b"gzip,br"
    assert coding_of(Message("RESPMOD", request, RESPONSE, b"x")) == b""
    assert facts_of(message()) != facts_of(replace(message(), request_head=REQUEST + RESPONSE, response_head=b""))


async def test_c7_what_hardly_comes_again_is_neither_looked_for_nor_kept() -> None:
    """Else a stream would push everything else out."""
    bench = Bench()
    cache = bench.caching()
    for _ in range(2):
        await cache.adapt(message(once=True))
    assert (len(bench.service.asked), bench.told) == (2, [])
    await cache.adapt(message())
    assert len(bench.service.asked) == 3


async def test_d6_a_body_that_was_found_bad_since_is_scanned_again_and_kept_again(bench: Bench) -> None:
    found: dict[str, float] = {}
    caching, digest = bench.caching(recalled=lambda digest: found.get(digest, 0.0)), sha256(b"body").hexdigest()
    for _ in range(2):
        await caching.adapt(message())
    assert bench.scans == 1
    found[digest] = bench.clock.now()
    await caching.adapt(message())
    assert bench.scans == 2
    found[digest] = bench.clock.now() - 0.5
    await caching.adapt(message())
    assert bench.scans == 2
