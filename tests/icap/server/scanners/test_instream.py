"""clamd's answers, and a conversation with daemons that misbehave."""

import asyncio
import contextlib
import errno
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.reason import Reason
from icap.server.scanners.clamd import ClamdScanner, ClamdSettings
from icap.server.scanners.daemon import Daemon
from icap.server.scanners.endpoint import Endpoint
from icap.server.scanners.instream import FRAME, WHOLE, parse_answer
from icap.server.scanners.scanner import ScanOutcome, ScanResult

type Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@contextlib.asynccontextmanager
async def peer(path: Path, behave: Peer) -> AsyncIterator[Endpoint]:
    """Something at clamd's socket that behaves like this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await behave(reader, writer)
        writer.close()

    server = await asyncio.start_unix_server(serve, path / "s")
    try:
        yield Endpoint.unix(path / "s")
    finally:
        server.close()


async def read_stream(reader: asyncio.StreamReader) -> list[bytes]:
    """The frames of one INSTREAM; a connection with another command ends here."""
    if await reader.readexactly(1) != b"z":
        raise asyncio.IncompleteReadError(b"", 1)
    assert await reader.readexactly(9) == b"INSTREAM\0"
    frames = []
    while size := struct.unpack("!L", await reader.readexactly(4))[0]:
        frames.append(await reader.readexactly(size))
    return frames


async def scan_with(behave: Peer, path: Path, *chunks: bytes, timeout: float = 20.0) -> ScanResult:
    async with peer(path, behave) as endpoint:
        return await asyncio.wait_for(
            ClamdScanner(endpoint, ClamdSettings(timeout=timeout, sessions=False)).scan(pieces(*chunks)), 60
        )


@given(st.binary(max_size=300))
def test_only_the_exact_words_are_a_verdict(line: bytes) -> None:
    answer = parse_answer(line)
    assert (answer.outcome is ScanOutcome.CLEAN) == (line == b"stream: OK")
    found = line.startswith(b"stream: ") and line.endswith(b" FOUND") and bool(answer.signature)
    assert (answer.outcome is ScanOutcome.INFECTED) == found
    assert (answer.outcome is ScanOutcome.ERROR) == (answer.reason is not Reason.OK)


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255))
def test_any_signature_name_is_found(name: str) -> None:
    answer = parse_answer(f"stream: {name} FOUND".encode())
    assert answer.outcome is ScanOutcome.INFECTED
    assert answer.signature == name


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", Reason.SCANNER_ERROR),
        (b"stream: OK ", Reason.SCANNER_ERROR),
        (b"stream: ok", Reason.SCANNER_ERROR),
        (b"OK", Reason.SCANNER_ERROR),
        (b"1: stream: OK", Reason.SCANNER_ERROR),
        (b"stream:  FOUND", Reason.SCANNER_ERROR),
        (b"stream: a\x00b FOUND", Reason.SCANNER_ERROR),
        (b"stream: Can't allocate memory ERROR", Reason.SCANNER_ERROR),
        (b"UNKNOWN COMMAND", Reason.SCANNER_ERROR),
        (b"INSTREAM size limit exceeded. ERROR", Reason.BODY_TOO_LARGE),
        (b"COMMAND READ TIMED OUT", Reason.SCANNER_TIMEOUT),
    ],
)
def test_everything_else_is_an_error(line: bytes, reason: Reason) -> None:
    answer = parse_answer(line)
    assert answer.outcome is ScanOutcome.ERROR
    assert answer.reason is reason


@pytest.mark.parametrize(
    ("sizes", "frames"),
    [
        ((), []),
        ((1,), [1]),
        ((WHOLE,), [WHOLE]),
        ((WHOLE + 1,), [WHOLE, 1]),
        ((WHOLE - 1, 1, 1), [WHOLE, 1]),
        ((1,) * 1000, [1000]),
        ((WHOLE + 200_000,), [WHOLE] + [FRAME] * 3 + [3392]),
        ((WHOLE, FRAME, FRAME), [WHOLE, FRAME, FRAME]),
    ],
)
async def test_the_body_arrives_whole_in_full_frames(tmp_path: Path, sizes: tuple[int, ...], frames: list[int]) -> None:
    got: list[bytes] = []

    async def clamd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.extend(await read_stream(reader))
        writer.write(b"stream: OK\0")

    body = [bytes((at % 251,)) * size for at, size in enumerate(sizes)]
    result = await scan_with(clamd, tmp_path, *body)
    assert result.outcome is ScanOutcome.CLEAN
    assert b"".join(got) == b"".join(body)
    assert [len(frame) for frame in got] == frames
    assert result.sha256 == hashlib.sha256(b"".join(body)).hexdigest()
    assert result.size == sum(sizes)


@pytest.mark.parametrize("said", [b"", b"stream: OK", b"stream: O", b"x" * 9000, b"\0", b"\n", b"PONG\0"])
async def test_a_daemon_that_says_anything_else_and_closes_is_an_error(tmp_path: Path, said: bytes) -> None:
    async def clamd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_stream(reader)
        writer.write(said)

    result = await scan_with(clamd, tmp_path, b"body")
    assert result.outcome is ScanOutcome.ERROR
    assert result.reason is Reason.SCANNER_ERROR


async def test_ok_before_the_end_of_the_body_is_an_error(tmp_path: Path) -> None:
    async def clamd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(100)
        writer.write(b"stream: OK\0")
        await writer.drain()
        await asyncio.sleep(3600)

    body = [bytes(FRAME)] * 200
    result = await scan_with(clamd, tmp_path, *body)
    assert result.outcome is ScanOutcome.ERROR
    assert result.reason is Reason.SCANNER_ERROR
    assert result.sha256 == ""


@pytest.mark.parametrize("stop_after", [0, 10, 1_000_000])
async def test_an_answer_with_a_reset_behind_it_is_still_read(tmp_path: Path, stop_after: int) -> None:
    """clamd over its StreamMaxLength: it answers and closes with our data unread, while we are sending."""

    async def clamd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(stop_after)
        writer.write(b"INSTREAM size limit exceeded. ERROR\0")

    result = await scan_with(clamd, tmp_path, *[bytes(FRAME)] * 100)
    assert result.outcome is ScanOutcome.ERROR
    assert result.reason is Reason.BODY_TOO_LARGE


async def test_a_daemon_that_stops_reading_meets_the_deadline(tmp_path: Path) -> None:
    async def clamd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    result = await scan_with(clamd, tmp_path, *[bytes(FRAME)] * 100, timeout=0.3)
    assert result.outcome is ScanOutcome.ERROR
    assert result.reason is Reason.SCANNER_TIMEOUT


async def test_a_daemon_that_never_answers_meets_the_deadline(tmp_path: Path) -> None:
    async def clamd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_stream(reader)
        await asyncio.sleep(3600)

    result = await scan_with(clamd, tmp_path, b"x", timeout=0.3)
    assert result.reason is Reason.SCANNER_TIMEOUT


async def test_a_slow_body_does_not_use_up_the_scanners_time(tmp_path: Path) -> None:
    async def clamd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_stream(reader)
        writer.write(b"stream: OK\0")

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield bytes(FRAME)
            await asyncio.sleep(0.3)

    async with peer(tmp_path, clamd) as endpoint:
        result = await ClamdScanner(endpoint, ClamdSettings(timeout=0.8, sessions=False)).scan(slow())
    assert result.outcome is ScanOutcome.CLEAN


@pytest.mark.parametrize("error", [TimeoutError, ConnectionResetError, RuntimeError])
async def test_what_the_body_raises_is_raised_on_and_the_slot_is_free_again(tmp_path: Path, error: type[Exception]) -> None:
    async def clamd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_stream(reader)
        writer.write(b"stream: OK\0")

    async def broken() -> AsyncIterator[bytes]:
        yield bytes(2 * FRAME)
        raise error

    async with peer(tmp_path, clamd) as endpoint:
        scanner = ClamdScanner(endpoint, ClamdSettings(concurrency=1, sessions=False))
        for _ in range(2):
            with pytest.raises(error):
                await scanner.scan(broken())
        assert (await scanner.scan(pieces(b"x"))).outcome is ScanOutcome.CLEAN


async def test_concurrency_is_bounded_and_waiting_has_a_deadline(tmp_path: Path) -> None:
    busy: list[int] = []
    release = asyncio.Event()

    async def clamd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) != b"z":
            return  # the question for the version
        busy.append(1)
        await release.wait()
        writer.write(b"stream: OK\0")

    async with peer(tmp_path, clamd) as endpoint:
        patient = ClamdScanner(endpoint, ClamdSettings(concurrency=2, sessions=False))
        scans = [asyncio.create_task(patient.scan(pieces(b"x"))) for _ in range(6)]
        await asyncio.sleep(0.5)
        assert len(busy) <= 2
        hasty = ClamdScanner(endpoint, ClamdSettings(concurrency=2, timeout=0.5, sessions=False))
        results = await asyncio.gather(*(hasty.scan(pieces(b"x")) for _ in range(6)))
        assert {result.reason for result in results} == {Reason.SCANNER_TIMEOUT}
        # Not exactly four: a slot that is given back at one's deadline may be taken just before the next one's.
        assert "no free slot" in {result.detail for result in results}
        release.set()
        assert {result.outcome for result in await asyncio.gather(*scans)} == {ScanOutcome.CLEAN}
        assert len(busy) >= 6


async def test_a_daemon_that_scans_but_states_no_version_is_up(tmp_path: Path) -> None:
    async def clamd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_stream(reader)
        writer.write(b"stream: OK\0")

    async with peer(tmp_path, clamd) as endpoint:
        scanner = ClamdScanner(endpoint, ClamdSettings(sessions=False))
        await scanner.refresh()
        assert not scanner.health.up
        assert (await scanner.scan(pieces(b"x"))).outcome is ScanOutcome.CLEAN
        assert scanner.health.up
        assert scanner.engine == ""


@pytest.mark.parametrize(("size", "outcome"), [(1000, ScanOutcome.CLEAN), (1001, ScanOutcome.ERROR)])
async def test_our_own_size_limit_is_exact(tmp_path: Path, size: int, outcome: ScanOutcome) -> None:
    async def clamd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_stream(reader)
        writer.write(b"stream: OK\0")

    async with peer(tmp_path, clamd) as endpoint:
        result = await ClamdScanner(endpoint, ClamdSettings(max_size=1000, sessions=False)).scan(pieces(bytes(size)))
    assert result.outcome is outcome
    assert (result.reason is Reason.BODY_TOO_LARGE) == (outcome is ScanOutcome.ERROR)


async def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        tcp = Endpoint.tcp(f"127.0.0.1:{unused.getsockname()[1]}")
        for endpoint in (Endpoint.unix(tmp_path / "none"), tcp):
            result = await ClamdScanner(endpoint, ClamdSettings(sessions=False)).scan(pieces(b"x"))
            assert result.outcome is ScanOutcome.ERROR
            assert result.reason is Reason.SCANNER_UNREACHABLE


async def test_a_full_backlog_is_waited_for_and_not_taken_for_a_connection(tmp_path: Path) -> None:
    path = tmp_path / "full"
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as others:
        listener.bind(str(path))
        listener.listen(0)
        while True:
            other = others.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            if other.connect_ex(str(path)) == errno.EAGAIN:
                break
        result = await ClamdScanner(Endpoint.unix(path), ClamdSettings(timeout=0.3, sessions=False)).scan(pieces(b"x"))
        assert result.reason is Reason.SCANNER_TIMEOUT
        assert not await asyncio.to_thread(Daemon(Endpoint.unix(path), 0.3).ping)  # and the thread came back


@pytest.mark.parametrize("text", ["", "host", "host:", ":80", "host:0", "host:65536", "host:+1", "host:1 "])
def test_tcp_endpoints_are_host_and_port(text: str) -> None:
    with pytest.raises(ValueError):
        Endpoint.tcp(text)


@given(st.text(max_size=40))
def test_any_text_is_an_endpoint_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        endpoint = Endpoint.tcp(text)
        assert endpoint.host
        assert 0 < endpoint.port < 65536


def test_ipv6_endpoints_lose_their_brackets() -> None:
    assert Endpoint.tcp("[::1]:3310") == Endpoint(host="::1", port=3310)
