"""ICP-12: our ICAP server's services without ICAP in between: what they say is what the server says."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from appliance.domain.errors import ScanError
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from icap.client import Adapted, Body, IcapService, Message, Tuning
from icap.client.address import ServiceAddress
from icap.client.author import Author
from icap.client.prober import Rhythm
from icap.inside import Inside
from icap.server.adapt import standard_services
from icap.server.scanners.scanner import UNKNOWN, Grounds, Scanner, ScanOutcome, ScanResult, Subject
from icap.server.settings import ServerSettings
from tests.icap.client.messages import download, upload
from tests.icap.server.serving import WholeBodyScanner, serving
from tests.servers import EICAR

NEEDLE = b"needle"


@dataclass
class Saying(WholeBodyScanner):
    """Says one thing of every body, after it was read or before."""

    result: ScanResult = field(default_factory=lambda: ScanResult(ScanOutcome.CLEAN))
    early: bool = False

    async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
        if not self.early:
            await super().scan(chunks)
        return self.result


@dataclass
class Held(WholeBodyScanner):
    """Does not answer before it is let."""

    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
        self.started += 1
        await self.go.wait()
        return await super().scan(chunks)


def way(scanner: Scanner, name: str = "respmod", limit: int = 8, waiting: int = 8, patience: float = 60.0) -> Inside:
    author = Author(ServiceAddress.parse(f"icap://h/{name}"), Tuning())
    found = standard_services(scanner, ServerSettings()).get(name)
    return Inside(found, author, limit, max_waiting=waiting, queue_timeout=patience)


def service(scanner: Scanner, name: str = "respmod", timeout: float = 60.0, **bounds: float) -> IcapService:
    made = way(scanner, name, **bounds)  # type: ignore[arg-type] # counts are whole
    return IcapService(f"icap://h/{name}", way=made, timeout=timeout, health=None)


async def both(scanner: Scanner, message: Message) -> tuple[Adapted, Adapted]:
    """Inside, and over a socket."""
    name = message.method.lower()
    inside = await service(scanner, name).adapt(message)
    async with serving(scanner) as server:
        client = IcapService(f"icap://127.0.0.1:{server.port}/{name}", name=f"icap://h:1344/{name}")
        outside = await client.adapt(message)
        await client.close()
    return inside, outside


def timeless(verdict: ScanVerdict) -> ScanVerdict:
    return replace(verdict, ms=0.0)


@pytest.mark.parametrize(
    "message",
    [download(b"clean"), download(b"a needle in it"), download(b""), upload(b"clean"), upload(b"a needle in it"), upload(b"")],
    ids=["clean down", "bad down", "no body down", "clean up", "bad up", "no body up"],
)
async def test_icp_12_the_verdict_is_the_same_as_over_a_socket(message: Message) -> None:
    inside, outside = await both(WholeBodyScanner(NEEDLE), message)
    assert timeless(inside.verdict) == timeless(outside.verdict)
    assert (inside.kind, inside.head, inside.body) == (outside.kind, outside.head, outside.body)
    expected = Outcome.BLOCKED if NEEDLE in (message.body or b"") else Outcome.CLEAN  # type: ignore[operator]
    assert inside.verdict.outcome is expected


@pytest.mark.parametrize(
    "result",
    [
        ScanResult(ScanOutcome.ERROR, reason=Reason.SCANNER_UNREACHABLE, detail="nobody there"),
        ScanResult(ScanOutcome.ERROR, reason=Reason.SCANNER_TIMEOUT),
        ScanResult(ScanOutcome.ERROR, reason=Reason.BODY_TOO_LARGE),
        ScanResult(ScanOutcome.ERROR, reason=Reason.NOT_SCANNABLE),
        ScanResult(ScanOutcome.BLOCKED, "rule", reason=Reason.FILE_TYPE_BLOCKED, engine="types/1"),
        ScanResult(ScanOutcome.CLEAN, engine="x", unscanned="encrypted", sha256="0" * 64, size=5),
    ],
    ids=lambda result: result.reason.word,
)
async def test_icp_12_what_a_scanner_says_leads_to_the_same(result: ScanResult) -> None:
    inside, outside = await both(Saying(result=result), download(b"12345"))
    one, other = timeless(inside.verdict), timeless(outside.verdict)
    assert replace(one, sha256="") == replace(other, sha256="")
    assert one.sha256 == (result.sha256 or other.sha256)
    assert (one.outcome is Outcome.ERROR) is (result.outcome is ScanOutcome.ERROR)


@pytest.mark.parametrize("grounds", list(Grounds))
async def test_d3_who_judges_by_the_head_is_shown_it_and_says_so(grounds: Grounds) -> None:
    inside, outside = await both(WholeBodyScanner(grounds=grounds), download(b"clean"))
    assert inside.verdict.by_body is outside.verdict.by_body is (grounds < Grounds.HEAD)


async def test_clean_before_the_end_of_the_body_is_an_error() -> None:
    adapted = await service(Saying(early=True)).adapt(download(b"12345"))
    assert (adapted.verdict.outcome, adapted.verdict.reason) == (Outcome.ERROR, Reason.SCANNER_ERROR)


async def test_icp_12_a_scanner_that_raises_lets_nothing_pass() -> None:
    class Broken(WholeBodyScanner):
        async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
            raise RuntimeError

    with pytest.raises(RuntimeError):  # the guard around hooks stops the message
        await service(Broken()).adapt(download(b"12345"))


async def test_icp_10_a_scan_that_takes_too_long_is_a_timeout() -> None:
    scanner = Held()
    adapted = await service(scanner, timeout=0.01).adapt(download(b"12345"))
    assert (adapted.verdict.outcome, adapted.verdict.reason) == (Outcome.ERROR, Reason.ICAP_TIMEOUT)
    assert scanner.started == 1


@pytest.mark.parametrize(
    ("name", "message"), [("other", download(b"x")), ("reqmod", download(b"x")), ("respmod", upload(b"x"))]
)
async def test_a_service_that_is_not_there_or_does_not_do_it_is_an_error(name: str, message: Message) -> None:
    scanner = WholeBodyScanner()
    adapted = await service(scanner, name).adapt(message)
    assert (adapted.verdict.outcome, adapted.verdict.reason) == (Outcome.ERROR, Reason.ICAP_ERROR)
    assert scanner.seen == []


# -- bodies that are still arriving --------------------------------------------------------------------------------------


async def test_c7_a_body_is_scanned_while_it_arrives() -> None:
    scanner, body = WholeBodyScanner(NEEDLE), Body()
    adapting = asyncio.create_task(service(scanner).adapt(replace(download(b""), body=body)))
    for piece in (b"a nee", b"dle ", b"in two"):
        body.feed(piece)
        await asyncio.sleep(0)
    body.end()
    adapted = await adapting
    assert scanner.seen == [b"a needle in two"]
    assert (adapted.verdict.outcome, adapted.verdict.size) == (Outcome.BLOCKED, 15)
    assert adapted.verdict.sha256 == body.sha256


async def test_c7_a_body_that_breaks_off_has_no_verdict_and_is_no_fault_of_the_service() -> None:
    scanner, body = WholeBodyScanner(), Body()
    asked = service(scanner)
    adapting = asyncio.create_task(asked.adapt(replace(download(b""), body=body)))
    body.feed(b"x" * 2000)
    await asyncio.sleep(0.01)
    body.abort(ScanError(Reason.CLIENT_CLOSED, "gone"))
    adapted = await adapting
    assert (adapted.verdict.outcome, adapted.verdict.reason) == (Outcome.ERROR, Reason.CLIENT_CLOSED)
    assert (scanner.started, scanner.seen) == (1, [])
    assert not asked.stats.errors


async def test_a_transfer_that_takes_longer_than_a_scan_may_is_scanned() -> None:
    scanner, body = WholeBodyScanner(), Body()
    adapting = asyncio.create_task(service(scanner, timeout=0.01).adapt(replace(download(b""), body=body)))
    body.feed(b"x" * 2000)
    await asyncio.sleep(0.05)
    body.end()
    assert (await adapting).verdict.outcome is Outcome.CLEAN


# -- bounds --------------------------------------------------------------------------------------------------------------


async def test_icp_09_no_more_at_one_time_than_the_limit() -> None:
    scanner = Held()
    asked = service(scanner, limit=2)
    adapting = [asyncio.create_task(asked.adapt(download(b"%d" % number))) for number in range(5)]
    await asyncio.sleep(0.01)
    assert scanner.started == 2
    scanner.go.set()
    assert {(await each).verdict.outcome for each in adapting} == {Outcome.CLEAN}
    assert len(scanner.seen) == 5


async def test_icp_09_who_finds_the_queue_full_or_waits_in_vain_is_refused() -> None:
    scanner = Held()
    asked = service(scanner, limit=1, waiting=1, patience=0.01)
    await asked.adapt(download(b""))  # has its options now
    first = asyncio.create_task(asked.adapt(download(b"1")))
    await asyncio.sleep(0)
    refused = await asyncio.gather(*(asked.adapt(download(b"x")) for _ in range(2)))
    assert {each.verdict.reason for each in refused} == {Reason.ICAP_OVERLOAD}
    assert {each.verdict.detail for each in refused} == {"1 messages are being scanned", "no scan came to its end in time"}
    scanner.go.set()
    assert (await first).verdict.outcome is Outcome.CLEAN
    assert (await asked.adapt(download(b"2"))).verdict.outcome is Outcome.CLEAN


async def test_icp_09_a_message_without_a_body_waits_for_nobody() -> None:
    asked = service(scanner := Held(), limit=1)
    first = asyncio.create_task(asked.adapt(download(b"1")))
    await asyncio.sleep(0)
    assert (await asked.adapt(download(b""))).verdict.outcome is Outcome.CLEAN
    scanner.go.set()
    await first


async def test_a_client_that_leaves_gives_its_place_back() -> None:
    scanner = Held()
    asked = service(scanner, limit=1)
    leaving = asyncio.create_task(asked.adapt(download(b"1")))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    scanner.go.set()
    assert (await asked.adapt(download(b"2"))).verdict.outcome is Outcome.CLEAN


# -- the service's state -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("needle", "ok"), [(EICAR, True), (NEEDLE, False)])
async def test_icp_14_it_is_checked_with_an_infected_and_a_clean_message(needle: bytes, ok: bool) -> None:
    asked = IcapService("icap://h/respmod", way=way(WholeBodyScanner(needle)), health=Rhythm(), tuning=Tuning())
    assert (await asked.check()).ok is ok
    adapted = await asked.adapt(download(b"clean"))
    await asked.close()
    assert adapted.verdict.outcome is (Outcome.CLEAN if ok else Outcome.ERROR)


async def test_icp_07_another_version_of_the_scanner_is_another_istag() -> None:
    scanner = WholeBodyScanner()
    asked = service(scanner)
    first = (await asked.adapt(download(b"1"))).verdict.istag
    scanner.fingerprint = "2"
    second = (await asked.adapt(download(b"1"))).verdict.istag
    assert first != second
    assert asked.stats.istag == second
