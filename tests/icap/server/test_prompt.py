"""Small whole bodies that clamd is asked about without a task: the same answers as by the general way, and the same ends."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from icap.server.scanners.clamd import ClamdScanner
from icap.server.scanners.clamd_settings import ClamdSettings
from icap.server.scanners.endpoint import Endpoint
from icap.server.scanners.scanner import UNKNOWN, Cancel, ScannerHealth, ScanResult, Subject, Told
from icap.server.settings import ServerSettings
from tests.icap.server.serving import Client, options, reqmod, respmod, serving
from tests.servers import EICAR, Clamd, clamd

pytestmark = pytest.mark.integration
ALLOW = "Allow: 204"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Clamd]:
    with clamd() as running:
        yield running


class Counting(ClamdScanner):
    """Says by which way it was asked."""

    begun = 0
    scanned = 0

    def begin(self, body: bytes, told: Told) -> Cancel | None:
        cancel = super().begin(body, told)
        self.begun += cancel is not None
        return cancel

    async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
        self.scanned += 1
        return await super().scan(chunks, subject)


class General(ClamdScanner):
    def begin(self, body: bytes, told: Told) -> Cancel | None:
        return None


def previewed(body: bytes) -> bytes:
    return respmod(None, ALLOW, f"Preview: {len(body)}").replace(b"null-body", b"res-body") + b"%x\r\n%b\r\n0; ieof\r\n\r\n" % (
        len(body),
        body,
    )


async def warmed(scanner: ClamdScanner, client: Client) -> None:
    """A connection to clamd is kept that takes files."""
    await scanner.refresh()
    for _ in range(2):
        assert (await client.ask(respmod(b"warm", ALLOW))).status == 204


async def test_icp_06_both_ways_give_the_same_answers_to_the_same_bytes(daemon: Clamd) -> None:
    """ICAP-S07, ICAP-S17: headers, heads, pages and accounts, but for the time that a scan took."""
    bodies = [b"clean", EICAR, os.urandom(1024), EICAR + b"\n", b"\0", os.urandom(100_000)]
    messages = [make(body) for body in bodies for make in (lambda body: respmod(body, ALLOW), lambda body: respmod(body),
                lambda body: reqmod(body, ALLOW), previewed)]  # fmt: skip
    told = []
    for kind in (Counting, General):
        scanner = kind(Endpoint.unix(daemon.socket))
        async with serving(scanner) as running, await running.open() as client:
            await warmed(scanner, client)
            answers = [await client.ask(message) for message in messages]
            accounts = [
                (each.service, each.method, each.status, each.received, each.reason) for each in running.ledger.accounts
            ]
            scans = [each.scan and (each.scan.outcome, each.scan.sha256, each.scan.engine) for each in running.ledger.accounts]
        plain = [[one for one in each.headers if one[0] not in ("X-Arcus-Scan", "X-Arcus-Scanner-Result")] for each in answers]
        stated = [(each.headers.first("X-Arcus-Scan") or "").partition(";")[2] for each in answers]
        told.append(([(each.status, each.head, each.body) for each in answers], plain, stated, accounts, scans))
        if isinstance(scanner, Counting):
            assert scanner.begun > len(bodies)
    assert told[0] == told[1]


async def test_icap_s17_pipelined_requests_keep_their_order(daemon: Clamd) -> None:
    """Twenty at one time on each of several connections, with fewer slots than connections."""
    scanner = Counting(Endpoint.unix(daemon.socket), ClamdSettings(concurrency=2))

    async def ask(client: Client) -> list[int]:
        client.writer.write((previewed(b"x") + reqmod(None, ALLOW) + respmod(EICAR, ALLOW) + options()) * 5)
        return [(await client.answer()).status for _ in range(20)]

    async with serving(scanner) as running, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await running.open()) for _ in range(6)]
        await warmed(scanner, clients[0])
        assert await asyncio.gather(*map(ask, clients)) == [[204, 204, 200, 200] * 5] * 6
        for client in clients:
            assert (await client.ask(previewed(EICAR))).status == 200
        assert len(running.ledger.accounts) == 2 + 6 * 20 + 6
        assert scanner._nodes[0].busy == 0
    assert scanner.begun


@dataclass
class Slow:
    """A clamd's sessions: streams are OK, and to a file it says what the test says, once the gate is open."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    say: Callable[[int], bytes | None] = lambda number: b"%d: fd[9]: OK\0" % number
    files: int = 0
    gone: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            opening = await reader.readuntil(b"\0")
            single = opening == b"zINSTREAM\0"
            while command := opening if single else await reader.readuntil(b"\0"):
                number += 1
                if command == b"zFILDES\0":
                    await reader.readexactly(1)
                    self.files += 1
                    await self.gate.wait()
                    said = self.say(number)
                    if said is None:
                        break
                    writer.write(said)
                    continue
                while size := struct.unpack("!L", await reader.readexactly(4))[0]:
                    await reader.readexactly(size)
                writer.write(b"stream: OK\0" if single else b"%d: stream: OK\0" % number)
                if single:
                    break
        self.gone += 1
        writer.close()

    @contextlib.asynccontextmanager
    async def scanner(self, path: Path, settings: ClamdSettings | None = None) -> AsyncIterator[ClamdScanner]:
        server = await asyncio.start_unix_server(self.serve, path)
        scanner = ClamdScanner(Endpoint.unix(path), settings)
        node = scanner._nodes[0]
        node.health = ScannerHealth(up=True)  # or it would be asked for its version first
        self.gate.set()
        for _ in range(2):
            assert (await scanner.scan(_piece(b"x"))).reason.word == "ok"
        self.files = 0
        self.gate.clear()
        try:
            yield scanner
        finally:
            self.gate.set()
            await scanner.close()
            server.close()

    async def asked(self, count: int = 1) -> None:
        while self.files < count:
            await asyncio.sleep(0.01)


async def _piece(body: bytes) -> AsyncIterator[bytes]:
    yield body


@pytest.mark.parametrize("said", [None, b"9: fd[9]: OK\0", b"4: fd[9]: Bad ERROR\0", b"4: UNKNOWN COMMAND\0"])
async def test_what_is_no_verdict_is_asked_again_the_general_way(tmp_path: Path, said: bytes | None) -> None:
    slow = Slow(say=lambda number: b"3: fd[9]: OK\0" if number == 3 else said)
    async with slow.scanner(tmp_path / "s") as scanner, serving(scanner) as running, await running.open() as client:
        slow.gate.set()
        assert [(await client.ask(previewed(b"x"))).status for _ in range(3)] == [204] * 3
        assert slow.files == 1  # no more files for a while
        assert scanner._nodes[0].busy == 0


async def test_icap_s23_a_clamd_that_does_not_answer_in_time_is_no_verdict(tmp_path: Path) -> None:
    """The second waits for the only slot, and gets it when the first one's time is over; the time is that of each."""
    slow, settings = Slow(), ClamdSettings(timeout=0.5, concurrency=1)
    async with slow.scanner(tmp_path / "s", settings) as scanner, serving(scanner) as running:
        async with await running.open() as first, await running.open() as second:
            first.writer.write(previewed(b"1"))
            await slow.asked()
            second.writer.write(previewed(b"2"))
            answers = [await first.answer(), await second.answer()]
            assert answers[0].status == 500
            assert answers[0].headers.first("X-Arcus-Error") == "scanner_timeout"
            assert answers[1].status in (204, 500)
            slow.gate.set()
            assert (await first.ask(previewed(b"3"))).status == 204
        assert running.ledger.accounts[0].reason == "scanner_timeout"
        assert scanner._nodes[0].busy == 0
        assert scanner._nodes[0].take_now()


async def test_icap_s18_a_client_that_leaves_ends_its_scan_and_those_that_wait(tmp_path: Path) -> None:
    slow, settings = Slow(), ClamdSettings(concurrency=1)
    async with slow.scanner(tmp_path / "s", settings) as scanner, serving(scanner) as running:
        clients = [await running.open() for _ in range(3)]
        for count, client in enumerate(clients, 1):
            client.writer.write(previewed(b"x"))
            while scanner._nodes[0].busy < count:
                await asyncio.sleep(0.01)
        for client in clients[1:] + clients[:1]:
            sock = client.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.writer.transport.abort()
        while len(running.ledger.accounts) < 3 or scanner._nodes[0].busy:
            await asyncio.sleep(0.01)
        assert [account.status for account in running.ledger.accounts] == [0, 0, 0]
        slow.gate.set()
        async with await running.open() as client:
            assert (await client.ask(respmod(b"x", ALLOW))).status == 204


async def test_icap_s16_a_server_that_stops_lets_it_finish(tmp_path: Path) -> None:
    slow = Slow()
    async with slow.scanner(tmp_path / "s") as scanner, serving(scanner) as running, await running.open() as client:
        client.writer.write(previewed(b"x"))
        await slow.asked()
        stopping = asyncio.create_task(running.server.stop(grace=30))
        await asyncio.sleep(0)
        slow.gate.set()
        answer = await client.answer()
        assert (answer.status, answer.headers.first("Connection")) == (204, "close")
        assert await client.rest() == b""
        await stopping


async def test_icap_s19_no_deadline_of_the_client_runs_while_it_is_scanned(tmp_path: Path) -> None:
    """What comes meanwhile waits; half a request behind it has the header's time from then on."""
    slow, settings = Slow(), ServerSettings(tick=0.02, idle_timeout=0.2, header_timeout=0.2, body_timeout=0.2)
    async with slow.scanner(tmp_path / "s") as scanner, serving(scanner, settings) as running, await running.open() as client:
        client.writer.write(previewed(b"x"))
        await slow.asked()
        client.writer.write(options()[:10])
        await asyncio.sleep(0.6)
        slow.gate.set()
        assert (await client.answer()).status == 204
        assert (await client.answer()).status == 408


async def test_icap_s17_a_client_that_has_closed_its_side_still_gets_the_answer(tmp_path: Path) -> None:
    slow = Slow()
    async with slow.scanner(tmp_path / "s") as scanner, serving(scanner) as running, await running.open() as client:
        client.writer.write(previewed(b"x"))
        client.writer.write_eof()
        await slow.asked()
        slow.gate.set()
        assert (await client.answer()).status == 204
        assert await client.rest() == b""


async def test_icap_s19_too_much_behind_it_ends_the_connection_after_the_answer(tmp_path: Path) -> None:
    slow, settings = Slow(), ServerSettings(tick=0.02)
    async with slow.scanner(tmp_path / "s") as scanner, serving(scanner, settings) as running, await running.open() as client:
        client.writer.write(previewed(b"x"))
        await slow.asked()
        client.writer.write(options() * 40_000)
        await asyncio.sleep(0.3)
        slow.gate.set()
        assert (await client.answer()).status == 204


async def test_icap_s23_a_service_that_raises_after_the_scan_is_500(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    async with slow.scanner(tmp_path / "s") as scanner, serving(scanner) as running, await running.open() as client:
        client.writer.write(previewed(b"x"))
        await slow.asked()
        monkeypatch.setattr("icap.server.adapt.facts", lambda *_: 1 / 0)
        slow.gate.set()
        answer = await client.answer()
        assert (answer.status, answer.headers.first("X-Arcus-Error")) == (500, "internal_error")
        assert await client.rest() == b""
    assert [account.status for account in running.ledger.accounts] == [500]
