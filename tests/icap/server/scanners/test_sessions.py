"""Kept connections to clamd: one question at a time, a verdict only with its number, and otherwise none at all."""

import asyncio
import contextlib
import mmap
import os
import re
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from appliance.domain.clock import ManualClock, SystemClock
from appliance.domain.reason import Reason
from icap.server.scanners.clamd import ClamdScanner
from icap.server.scanners.clamd_settings import ClamdSettings
from icap.server.scanners.daemon import Daemon
from icap.server.scanners.endpoint import Endpoint
from icap.server.scanners.instream import WHOLE
from icap.server.scanners.scanner import ScannerHealth, ScanOutcome
from icap.server.scanners.sealed import sealed
from icap.server.scanners.sessions import MOST_USES, RECONSIDER, Sessions
from tests.servers import EICAR, EICAR_NAME, MARKER, Clamd, clamd

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
        used.add(sessions._idle[0]._sock.fileno())
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
        sock = sessions._idle[0]._sock
        while answer is not None and answer.outcome is ScanOutcome.CLEAN:
            clock += 1
            await asyncio.sleep(0.02)
            answer = await sessions.scan(b"a new virus")
        assert answer is not None
        assert (answer.outcome, sessions._idle[0]._sock is sock) == (ScanOutcome.INFECTED, True)
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
        sessions = Sessions(endpoint, SystemClock(), files=False)
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
        sessions = Sessions(endpoint, clock, files=False)
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


async def test_bodies_are_passed_as_files_once_a_connection_is_used_again(daemon: Clamd) -> None:
    sessions = Sessions(Endpoint.unix(daemon.socket), SystemClock())
    log = daemon.base / "clamd.log"
    bodies = [b"first", EICAR, b"x", b"", os.urandom(WHOLE), bytes(WHOLE - len(MARKER)) + MARKER, EICAR + b"\n"]
    found = []
    for body in bodies:
        answer = await sessions.scan(body)
        assert answer is not None
        found.append(answer.signature)
    assert found == ["", EICAR_NAME, "", "", "", "Test.Marker.UNOFFICIAL", EICAR_NAME]
    assert sessions._idle[0].used == len(bodies) + 1  # one to see how long a stream clamd takes
    async with asyncio.timeout(60):
        while not re.search(r"memfd:body.*: Test.Marker.UNOFFICIAL FOUND", log.read_text()):
            await asyncio.sleep(0.02)
    sessions.close()


async def test_a_clamd_that_takes_only_shorter_streams_is_given_no_files() -> None:
    """It may call what is beyond its limits clean, as a file."""
    with clamd(f"StreamMaxLength {WHOLE - 1}\nMaxFileSize {WHOLE - 1}\nAlertExceedsMax no") as small:
        scanner = ClamdScanner(Endpoint.unix(small.socket))
        for _ in range(3):
            assert (await scanner.scan(pieces(EICAR))).outcome is ScanOutcome.INFECTED
            result = await scanner.scan(pieces(MARKER + bytes(WHOLE - len(MARKER))))
            assert (result.outcome, result.reason) == (ScanOutcome.ERROR, Reason.BODY_TOO_LARGE)
        assert "memfd" not in (small.base / "clamd.log").read_text()
        await scanner.close()


def test_a_sealed_file_cannot_be_changed_by_who_gets_it() -> None:
    body = os.urandom(200_000)
    descriptor = sealed(body)
    with os.fdopen(descriptor):
        assert os.pread(descriptor, 300_000, 0) == body
        for change in (lambda: os.pwrite(descriptor, b"x", 0), lambda: os.ftruncate(descriptor, 1),
                       lambda: os.ftruncate(descriptor, 300_000)):  # fmt: skip
            with pytest.raises(PermissionError):
                change()
        with pytest.raises(PermissionError):
            mmap.mmap(descriptor, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)


@contextlib.asynccontextmanager
async def taking_files(path: Path, answer: Callable[[int], bytes]) -> AsyncIterator[tuple[Endpoint, list[bytes]]]:
    """A session that says OK to streams, and ``answer`` of its number to a file. The commands it was given are told."""
    commands: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\0")
            number = 0
            while command := await reader.readuntil(b"\0"):
                number += 1
                commands.append(command)
                if command == b"zFILDES\0":
                    await reader.readexactly(1)
                    writer.write(answer(number))
                    continue
                while size := struct.unpack("!L", await reader.readexactly(4))[0]:
                    await reader.readexactly(size)
                writer.write(b"%d: stream: OK\0" % number)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield Endpoint.unix(path), commands
    finally:
        server.close()


@pytest.mark.parametrize(
    "said",
    [b"3: stream: OK\0", b"3: fd: OK\0", b"3: fd[9]OK\0", b"3: fd[9]: OK\n\0", b"2: fd[9]: OK\0", b"fd[9]: OK\0",
     b"3: fd[9]: Not a regular file ERROR\0", b"3: UNKNOWN COMMAND\0", b"3: No file descriptor received. ERROR\0",
     b"3: fd[9]: OK\x003: fd[9]: OK\0", b"3: xfd[9]: OK\0", b"\0"],
)  # fmt: skip
async def test_what_is_no_verdict_on_a_file_ends_files_for_a_while(tmp_path: Path, said: bytes) -> None:
    clock = ManualClock()
    clock.advance(1)
    async with taking_files(tmp_path / "s", lambda _: said) as (endpoint, commands):
        sessions = Sessions(endpoint, clock)
        assert await sessions.scan(b"x") is not None
        assert await sessions.scan(b"x") is None
        assert sessions._idle == []
        assert commands.pop() == b"zFILDES\0"
        for _ in range(3):
            assert await sessions.scan(b"x") is not None
        assert b"zFILDES\0" not in commands
        clock.advance(RECONSIDER + 1)
        assert [await sessions.scan(b"x") is None for _ in range(2)] == [False, True]
        assert commands[-1] == b"zFILDES\0"


async def test_a_file_that_is_never_answered_is_an_error_once(tmp_path: Path) -> None:
    async with taking_files(tmp_path / "s", lambda _: b"") as (endpoint, _):
        scanner = ClamdScanner(endpoint, ClamdSettings(timeout=0.5))
        scanner._nodes[0].health = ScannerHealth(up=True)  # or it would be asked for its version first
        results = [await scanner.scan(pieces(b"x")) for _ in range(5)]
        await scanner.close()
    assert [result.outcome for result in results] == [ScanOutcome.CLEAN, ScanOutcome.ERROR, *[ScanOutcome.CLEAN] * 3]
    assert results[1].reason is Reason.SCANNER_TIMEOUT


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
