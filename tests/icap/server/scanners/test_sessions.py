"""Kept connections to clamd: one question at a time, a verdict only with its number, and otherwise none at all."""

import asyncio
import contextlib
import os
import re
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from appliance.domain.clock import ManualClock, SystemClock
from icap.server.scanners.clamd import ClamdScanner
from icap.server.scanners.clamd_settings import ClamdSettings
from icap.server.scanners.daemon import Daemon
from icap.server.scanners.endpoint import Endpoint
from icap.server.scanners.scanner import ScanOutcome
from icap.server.scanners.sessions import MOST_USES, Sessions
from tests.servers import EICAR, EICAR_NAME, Clamd, clamd

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def daemon() -> Iterator[Clamd]:
    with clamd() as running:
        yield running


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_many_bodies_on_one_connection_each_with_its_verdict(daemon: Clamd) -> None:
    sessions = Sessions(Endpoint.unix(daemon.socket), SystemClock())
    used = set()
    for number in range(60):
        body = EICAR if number % 3 == 0 else b"clean %d" % number if number % 3 == 1 else b""
        answer = await sessions.scan(body)
        assert answer is not None
        assert (answer.outcome is ScanOutcome.INFECTED) == (number % 3 == 0)
        assert answer.signature == (EICAR_NAME if number % 3 == 0 else "")
        used.add(sessions._idle[0].sock.fileno())
    assert len(used) == len(sessions._idle) == 1
    sessions.close()


async def test_at_once_each_has_its_own(daemon: Clamd) -> None:
    scanner = ClamdScanner(Endpoint.unix(daemon.socket), ClamdSettings(concurrency=4))
    bodies = [EICAR if number % 2 else os.urandom(2000) for number in range(80)]
    results = await asyncio.gather(*(scanner.scan(pieces(body)) for body in bodies))
    wanted = [ScanOutcome.INFECTED if body == EICAR else ScanOutcome.CLEAN for body in bodies]
    assert [result.outcome for result in results] == wanted
    assert 1 <= len(scanner._nodes[0].sessions._idle) <= 4
    await scanner.close()


async def test_new_signatures_are_used_on_a_connection_that_was_there_before() -> None:
    with clamd() as running:
        endpoint = Endpoint.unix(running.socket)
        sessions, clock = Sessions(endpoint, ManualClock()), 0.0
        answer = await sessions.scan(b"a new virus")
        assert answer is not None
        assert answer.outcome is ScanOutcome.CLEAN
        database = next(Path(running.socket).parent.glob("db"))
        (database / "new.ndb").write_text(f"New.Virus:0:*:{b'a new virus'.hex()}\n")
        await asyncio.to_thread(Daemon(endpoint).reload)
        sock = sessions._idle[0].sock
        while answer is not None and answer.outcome is ScanOutcome.CLEAN:
            clock += 1
            await asyncio.sleep(0.02)
            answer = await sessions.scan(b"a new virus")
        assert answer is not None
        assert (answer.outcome, sessions._idle[0].sock is sock) == (ScanOutcome.INFECTED, True)
        sessions.close()


@contextlib.asynccontextmanager
async def fake(path: Path, answer: Callable[[int, bytes], bytes | None]) -> AsyncIterator[Endpoint]:
    """Sessions as clamd has them; ``answer`` is given the number of the question and the body, and says the raw answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            assert await reader.readexactly(11) == b"zIDSESSION\0"
            number = 0
            while await reader.readexactly(10) == b"zINSTREAM\0":
                number += 1
                body = b""
                while size := struct.unpack("!L", await reader.readexactly(4))[0]:
                    body += await reader.readexactly(size)
                said = answer(number, body)
                if said is None:
                    break
                writer.write(said)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield Endpoint.unix(path)
    finally:
        server.close()


@pytest.mark.parametrize(
    "said",
    [b"2: stream: OK\0", b"0: stream: OK\0", b"stream: OK\0", b"1:stream: OK\0", b"1: stream: OK", b"1: stream: OK\0x", b"",
     b"1: stream: OK\x001: stream: OK\0", b"1: stream: Virus FOUND\n\0", b"1: INSTREAM size limit exceeded. ERROR\0", b"\0",
     b"COMMAND READ TIMED OUT\n", b"-1: stream: OK\0", b"01x: stream: OK\0", None],
)  # fmt: skip
async def test_anything_but_an_exact_verdict_with_its_number_is_none(tmp_path: Path, said: bytes | None) -> None:
    closing = said is None or not said.endswith(b"\0")

    def answer(number: int, body: bytes) -> bytes | None:
        return None if said is None else said

    async with fake(tmp_path / "s", answer) as endpoint:
        sessions = Sessions(endpoint, SystemClock())
        scan = asyncio.wait_for(sessions.scan(b"x"), 1 if closing and said is not None else 10)
        if closing and said is not None:
            with pytest.raises(TimeoutError):  # the caller's time ends it
                await scan
        else:
            assert await scan is None
        assert sessions._idle == []


async def test_a_question_of_another_connection_is_never_answered_for_this_one(tmp_path: Path) -> None:
    """Numbers go up; an answer that was left over, or is doubled, has another number, or finds nobody waiting."""

    def doubled(number: int, body: bytes) -> bytes:
        return (
            b"%d: stream: OK\0%d: stream: OK\0" % (number, number + 1) if number == 1 else b"%d: stream: Bad FOUND\0" % number
        )

    async with fake(tmp_path / "s", doubled) as endpoint:
        sessions = Sessions(endpoint, SystemClock())
        for _ in range(3):
            assert await sessions.scan(b"x") is None
        assert sessions._idle == []


async def test_idle_too_long_closed_or_used_up_is_not_used_again(tmp_path: Path) -> None:
    clock, seen = ManualClock(), list[int]()

    def answer(number: int, body: bytes) -> bytes | None:
        seen.append(number)
        return b"%d: stream: OK\0" % number if body != b"last" else None

    async with fake(tmp_path / "s", answer) as endpoint:
        sessions = Sessions(endpoint, clock)
        for step in (0.0, 1.0, 2.5, 1.0):
            clock.advance(step)
            assert await sessions.scan(b"x") is not None
        assert seen == [1, 2, 1, 2]
        assert await sessions.scan(b"last") is None  # closed under it
        sessions._idle = []
        for _ in range(MOST_USES):
            assert await sessions.scan(b"") is not None
        assert sessions._idle == []
        sessions.close()


async def test_a_kept_connection_that_died_costs_no_verdict(daemon: Clamd) -> None:
    """The same body is scanned on a connection of its own."""
    scanner = ClamdScanner(Endpoint.unix(daemon.socket))
    assert (await scanner.scan(pieces(b"x"))).outcome is ScanOutcome.CLEAN
    sessions = scanner._nodes[0].sessions
    sessions._idle[0].used += 7  # it will answer with another number than the one that is waited for
    result = await scanner.scan(pieces(EICAR))
    assert (result.outcome, result.signature) == (ScanOutcome.INFECTED, EICAR_NAME)
    assert re.fullmatch("[0-9a-f]{64}", result.sha256)
    await scanner.close()


async def test_nobody_there_is_unreachable_as_before(tmp_path: Path) -> None:
    result = await ClamdScanner(Endpoint.unix(tmp_path / "none")).scan(pieces(b"x"))
    assert (result.outcome, result.reason.word) == (ScanOutcome.ERROR, "scanner_unreachable")
