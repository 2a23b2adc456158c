"""Routing, errors, keep-alive, and what OPTIONS says: S01 to S20 of the conformance list, on the wire."""

import asyncio
import os
import socket
import ssl
import struct

import pytest
import trustme

from icap.server.adapt import standard_services
from icap.server.server import IcapServer
from icap.server.settings import ServerSettings
from tests.icap.server.serving import REQUEST_HEAD, Client, WholeBodyScanner, options, reqmod, respmod, serving

pytestmark = pytest.mark.integration

START = b"RESPMOD icap://server.test/respmod ICAP/1.0\r\nHost: server.test\r\n"


@pytest.mark.parametrize(("service", "methods"), [("reqmod", "REQMOD"), ("respmod", "RESPMOD"), ("echo", "REQMOD, RESPMOD")])
async def test_icp_12_options_states_the_features(service: str, methods: str) -> None:
    """ICAP-S01, ICAP-S02, ICAP-S04"""
    async with serving() as running:
        answer = await running.ask(options(service))
    assert answer.status == 200
    assert answer.headers.first("Methods") == methods
    assert answer.headers.first("Preview") == "32"
    assert answer.headers.first("Max-Connections") == "512"
    assert answer.headers.tokens("Allow") == {"204"}
    assert int(answer.headers.first("Options-TTL") or 0) > 0
    assert answer.headers.first("Transfer-Preview") == "*"
    assert answer.headers.first("Encapsulated") == "null-body=0"


async def test_icp_12_istag_is_the_same_in_all_answers_and_follows_the_scanner() -> None:
    """ICAP-S03"""
    scanner = WholeBodyScanner(needle=b"bad")
    async with serving(scanner) as running:
        messages = [options(), respmod(b"x", "Allow: 204"), respmod(b"x"), respmod(b"bad"), respmod(None)]
        before = {(await running.ask(message)).headers.first("ISTag") or "" for message in messages}
        scanner.fingerprint = "2"
        after = {(await running.ask(message)).headers.first("ISTag") or "" for message in messages}
    assert len(before) == len(after) == 1
    assert before != after
    tag = before.pop()
    assert tag[0] == tag[-1] == '"'
    assert len(tag) <= 32


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"RESPMOD icap://server.test/none ICAP/1.0\r\nHost: server.test\r\nEncapsulated: null-body=0\r\n\r\n", 404),
        (b"OPTIONS icap://server.test/none ICAP/1.0\r\nHost: server.test\r\n\r\n", 404),
        (reqmod(None, service="respmod"), 405),
        (b"TRACE icap://server.test/respmod ICAP/1.0\r\nHost: server.test\r\n\r\n", 501),
        (b"OPTIONS icap://server.test/respmod ICAP/2.0\r\nHost: server.test\r\n\r\n", 505),
        (b"OPTIONS icap://server.test/respmod ICAP/1.0\r\n\r\n", 400),
        (b"OPTIONS /respmod ICAP/1.0\r\nHost: server.test\r\n\r\n", 400),
        (b"OPTIONS http://server.test/respmod ICAP/1.0\r\nHost: server.test\r\n\r\n", 400),
        (b"OPTIONS icap://[::1/respmod ICAP/1.0\r\nHost: server.test\r\n\r\n", 400),
        (b"OPTIONS icap://server.test/respmod ICAP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: server.test\r\n\r\n", 400),
        (START + b"\r\n", 400),
        (START + b"Encapsulated: req-hdr=1, null-body=20\r\n\r\n", 400),
        (START + b"Encapsulated: res-hdr=0, res-body=5\r\n\r\nHTTP/", 400),
        (START + b"Preview: abc\r\nEncapsulated: res-body=0\r\n\r\n", 400),
        (START + b"Preview: -5\r\nEncapsulated: res-body=0\r\n\r\n", 400),
    ],
)
async def test_icp_12_refusals_have_their_own_status(message: bytes, status: int) -> None:
    """ICAP-S13, ICAP-S14, ICAP-S15, ICAP-S22"""
    async with serving() as running:
        answer = await running.ask(message)
    assert answer.status == status


@pytest.mark.parametrize("size", [b"zz", b"", b"-1", b"+5", b"0x5", b"1_0", b"F" * 16])
async def test_icp_12_bad_chunk_sizes_are_400_and_the_end(size: bytes) -> None:
    """ICAP-S20"""
    head = START + b"Allow: 204\r\nEncapsulated: res-body=0\r\n\r\n"
    async with serving() as running:
        said = await running.raw(head + size + b"\r\nhello\r\n0\r\n\r\n")
    assert said.startswith(b"ICAP/1.0 400 ")
    assert b"Connection: close" in said
    assert said.count(b"ICAP/1.0") == 1


@pytest.mark.parametrize(
    "body", [b"A\r\n0123456789\r\n0\r\n\r\n", b'005 ; a="x;y"\r\n01234\r\n5;b\r\n56789\r\n0\r\nTrailer: 1\r\n\r\n']
)
async def test_icp_12_legal_chunks_are_read_and_the_connection_stays_in_step(body: bytes) -> None:
    """ICAP-S07, ICAP-S20"""
    scanner = WholeBodyScanner()
    head = START + b"Allow: 204\r\nEncapsulated: res-body=0\r\n\r\n"
    async with serving(scanner) as running, await running.open() as client:
        for byte in head + body:  # one byte at a time, as a slow network may have it
            client.writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await client.answer()).status == 204
        assert (await client.ask(options())).status == 200
    assert scanner.seen == [b"0123456789"]


async def test_icp_12_pipelined_requests_are_answered_in_order() -> None:
    """ICAP-S17"""
    async with serving(WholeBodyScanner(needle=b"bad")) as running:
        messages = [options(), respmod(b"bad"), respmod(b"good", "Allow: 204"), respmod(b"good")]
        async with await running.open() as client:
            client.writer.write(b"".join(messages))
            client.writer.write_eof()  # even when the client has closed its side
            answers = [await client.answer() for _ in messages]
            assert await client.rest() == b""
    assert [answer.status for answer in answers] == [200, 200, 204, 200]
    assert answers[1].headers.first("X-Virus-ID") == "Needle"
    assert answers[3].body == b"good"


async def test_icp_12_connection_close_is_honoured_and_said() -> None:
    """ICAP-S16"""
    async with serving() as running, await running.open() as client:
        answer = await client.ask(respmod(b"x", "Connection: close"))
        assert answer.headers.first("Connection") == "close"
        assert await client.rest() == b""


async def test_icp_12_an_error_answer_survives_a_body_nobody_reads() -> None:
    """ICAP-S16, ICAP-S23: The client is still sending megabytes when the 404 comes: a reset would take the answer away."""
    message = respmod(b"x" * 8_000_000, service="none")
    async with serving() as running, await running.open() as client:
        client.writer.write(message)
        answer = await client.answer()
        assert answer.status == 404
        assert answer.headers.first("Connection") == "close"
        assert await client.rest() == b""


@pytest.mark.parametrize("cut", [10, 60, 200, 260, -3])
async def test_icp_12_a_message_that_breaks_off_gets_no_verdict(cut: int) -> None:
    """ICAP-S18"""
    message = respmod(b"x" * 100, "Allow: 204")
    async with serving() as running:
        assert await running.raw(message[:cut]) == b""
        assert [account.status for account in running.ledger.accounts] in ([], [0])


async def test_icp_12_a_body_that_breaks_off_after_the_preview_gets_no_verdict() -> None:
    head = respmod(b"", "Preview: 4", "Allow: 204") + b"4\r\nabcd\r\n0\r\n\r\n"
    async with serving() as running:
        said = await running.raw(head + b"5\r\nefg")
    assert said in (b"", b"ICAP/1.0 100 Continue\r\n\r\n")


async def test_icp_12_slow_header_is_408() -> None:
    """ICAP-S19"""
    settings = ServerSettings(tick=0.02, header_timeout=0.2)
    async with serving(settings=settings) as running, await running.open() as client:

        async def dribble() -> None:
            for byte in options() * 50:
                client.writer.write(bytes((byte,)))
                await asyncio.sleep(0.05)

        task = asyncio.create_task(dribble())
        assert (await client.answer()).status == 408
        task.cancel()


async def test_icp_12_slow_body_is_408_however_often_a_byte_comes() -> None:
    """ICAP-S19"""
    settings = ServerSettings(tick=0.02, body_timeout=0.3)
    async with serving(settings=settings) as running, await running.open() as client:
        client.writer.write(respmod(b"", "Preview: 0", "Allow: 204") + b"0\r\n\r\n")
        await client.proceeds()

        async def dribble() -> None:
            while True:
                client.writer.write(b"1\r\nx\r\n")
                await asyncio.sleep(0.05)

        task = asyncio.create_task(dribble())
        assert (await client.answer()).status == 408
        task.cancel()


async def test_icp_12_a_slow_scan_is_not_the_clients_fault() -> None:
    settings = ServerSettings(tick=0.02, body_timeout=0.1, header_timeout=0.1)
    async with serving(WholeBodyScanner(delay=0.5), settings) as running:
        assert (await running.ask(respmod(b"x", "Allow: 204"))).status == 204


async def test_icp_12_idle_connections_end_without_a_word() -> None:
    settings = ServerSettings(tick=0.02, idle_timeout=0.2)
    async with serving(settings=settings) as running, await running.open() as client:
        assert (await client.ask(options())).status == 200
        assert await asyncio.wait_for(client.rest(), 20) == b""


async def test_icp_12_a_client_that_does_not_read_is_cut_off() -> None:
    settings = ServerSettings(tick=0.02, write_timeout=0.3)
    async with serving(settings=settings) as running, await running.open() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.writer.write(respmod(b"x" * 30_000_000))
        while running.ledger.open or not running.ledger.accounts:
            await asyncio.sleep(0.02)


async def test_icp_12_connection_cap_is_exact_and_answers_503() -> None:
    """ICAP-S13, ICAP-S19"""
    settings = ServerSettings(tick=0.02, max_connections=3)
    async with serving(settings=settings) as running:
        clients = [await running.open() for _ in range(3)]
        for client in clients:
            assert (await client.ask(options())).status == 200
        async with await running.open() as client:
            assert (await client.ask(options())).status == 503
        assert running.ledger.refusals == 1
        async with clients[0]:
            pass
        while running.ledger.open == 3:
            await asyncio.sleep(0.01)
        assert (await running.ask(options())).status == 200
        for client in clients[1:]:
            client.writer.close()


async def test_icp_12_stop_lets_an_exchange_finish_and_ends_idle_connections() -> None:
    async with serving(WholeBodyScanner(delay=0.4)) as running:
        idle, busy = await running.open(), await running.open()
        assert (await idle.ask(options())).status == 200
        busy.writer.write(respmod(b"x", "Allow: 204"))
        while not any(session.busy for session in running.server._sessions.values()):
            await asyncio.sleep(0.01)
        stopping = asyncio.create_task(running.server.stop(grace=10))
        answer = await busy.answer()
        assert answer.status == 204
        assert answer.headers.first("Connection") == "close"
        assert await idle.rest() == b""
        await asyncio.wait_for(stopping, 10)
        with pytest.raises(OSError):
            await running.open()
        for client in (idle, busy):
            client.writer.close()


async def test_icp_12_a_client_that_leaves_ends_its_scan() -> None:
    async with serving(WholeBodyScanner(delay=3600)) as running:
        client = await running.open()
        client.writer.write(respmod(b"x", "Allow: 204"))
        while not any(session.busy for session in running.server._sessions.values()):
            await asyncio.sleep(0.01)
        # a reset: a mere FIN may be a client that has closed its side and still waits
        sock = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()
        while not running.ledger.accounts:
            await asyncio.sleep(0.01)
        assert running.ledger.accounts[0].status == 0


async def test_icp_12_opt_body_is_dropped() -> None:
    """ICAP-S04"""
    message = options("echo")[:-2] + b"Encapsulated: opt-body=0\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with serving() as running, await running.open() as client:
        assert (await client.ask(message)).status == 200
        assert (await client.ask(options())).status == 200


async def test_icp_12_limits_hold_at_the_limit() -> None:
    """ICAP-S19"""
    base = b"OPTIONS icap://server.test/echo ICAP/1.0\r\nHost: server.test\r\n"
    async with serving() as running:
        for count, status in ((99, 200), (100, 400)):
            message = base + b"".join(b"X-%d: 1\r\n" % number for number in range(count)) + b"\r\n"
            assert (await running.ask(message)).status == status
        head = b"HTTP/1.1 200 OK\r\nX: %b\r\n\r\n"
        for size, status in ((256 * 1024, 204), (256 * 1024 + 1, 400)):
            filled = head % (b"x" * (size - len(head) + 2))
            assert len(filled) == size
            assert (await running.ask(respmod(b"b", "Allow: 204", head=filled))).status == status


async def test_icp_12_a_service_that_raises_is_500_and_the_next_connection_works() -> None:
    """ICAP-S23"""

    class Broken(WholeBodyScanner):
        async def scan(self, chunks: object, subject: object = None) -> object:  # type: ignore[override]
            raise ZeroDivisionError

    async with serving(Broken()) as running:  # type: ignore[arg-type]
        answer = await running.ask(respmod(b"x", "Allow: 204"))
        assert answer.status == 500
        assert answer.headers.first("X-Arcus-Error") == "internal_error"
        assert (await running.ask(options())).status == 200


async def test_icp_12_clean_before_the_end_of_the_body_is_no_verdict() -> None:
    class Hasty(WholeBodyScanner):
        async def scan(self, chunks: object, subject: object = None) -> object:  # type: ignore[override]
            return await super().scan(_nothing())

    async with serving(Hasty()) as running:  # type: ignore[arg-type]
        answer = await running.ask(respmod(b"x" * 10, "Allow: 204"))
    assert answer.status == 500
    assert answer.headers.first("X-Arcus-Error") == "scanner_error"


async def _nothing():  # type: ignore[no-untyped-def]
    return
    yield b""


async def test_icp_12_leading_blank_lines_and_request_heads_without_body() -> None:
    async with serving() as running:
        assert (await running.ask(b"\r\n" + reqmod(None, "Allow: 204"))).status == 204
        answer = await running.ask(reqmod(None))
    assert answer.status == 200
    assert answer.head == REQUEST_HEAD[:-2] + b"Via: ICAP/1.0 arcus\r\n\r\n"
    assert answer.body is None


async def test_icp_12_icaps_speaks_tls_from_the_first_byte() -> None:
    """ICAP-C45"""
    ca = trustme.CA()
    outside, inside = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.configure_trust(outside)
    ca.issue_cert("server.test").configure_cert(inside)
    server = IcapServer(standard_services(WholeBodyScanner(), ServerSettings()))
    listener = socket.create_server(("127.0.0.1", 0))
    await server.start([listener], tls=inside)
    streams = await asyncio.open_connection(*listener.getsockname(), ssl=outside, server_hostname="server.test")
    async with Client(*streams) as client:
        for body in (None, b"x", os.urandom(300_000)):
            assert (await client.ask(respmod(body, "Allow: 204"))).status == 204
            assert (await client.ask(respmod(body))).body == body
    await server.stop()


async def test_several_sockets_one_server() -> None:
    server = IcapServer(standard_services(WholeBodyScanner(), ServerSettings()))
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [listener.getsockname()[1] for listener in listeners]
    await server.start(listeners)
    for port in ports:
        async with Client(*await asyncio.open_connection("127.0.0.1", port)) as client:
            assert (await client.ask(options())).status == 200
    await server.stop()
    assert server.connections == 0
