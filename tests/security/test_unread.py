"""Peers that stop reading: a closed connection ends all the same."""

import asyncio
import socket
import ssl

import trustme
import uvloop

from appliance.engine.stream import accept_stream, close_soon


async def _connected(factory: type[asyncio.Protocol] = asyncio.Protocol) -> tuple[asyncio.Transport, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(factory, sock=ours)
    return transport, theirs


async def _until_cut(transport: asyncio.Transport) -> None:
    async with asyncio.timeout(20):
        while transport.get_write_buffer_size():
            await asyncio.sleep(0.01)


async def test_who_takes_nothing_is_cut() -> None:
    transport, peer = await _connected()
    with peer:
        transport.write(bytes(5_000_000))
        assert transport.get_write_buffer_size() > 1_000_000
        close_soon(transport, patience=0.05)
        await _until_cut(transport)


async def test_who_reads_slowly_gets_everything() -> None:
    transport, peer = await _connected()
    with peer:
        transport.write(bytes(2_000_000))
        close_soon(transport, patience=0.2)
        received = 0
        async with asyncio.timeout(20):
            while data := await asyncio.get_running_loop().sock_recv(peer, 65_536):
                received += len(data)
                await asyncio.sleep(0.01)
        assert received == 2_000_000


async def test_nothing_waits_for_a_transport_that_has_sent_everything() -> None:
    transport, peer = await _connected()
    with peer:
        close_soon(transport)
        assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""


async def test_a_stream_over_tls_can_drain() -> None:
    """uvloop hands out its own protocol for TLS, which a StreamWriter cannot wait on: it must be ours."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("proxy.test").configure_cert(server)
    authority.configure_trust(client)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)

    async def talk() -> bytes:
        connecting = asyncio.open_connection(sock=theirs, ssl=client, server_hostname="proxy.test")
        accepted, (reader, writer) = await asyncio.gather(accept_stream(ours, server, 10.0), connecting)
        accepted.writer.write(bytes(1_000_000))
        waiting = asyncio.create_task(accepted.writer.drain())
        received = await reader.readexactly(1_000_000)
        await waiting
        accepted.abort()
        writer.transport.abort()
        return received

    def run() -> bytes:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(talk())

    assert len(await asyncio.to_thread(run)) == 1_000_000


async def test_words_to_a_client_that_has_gone_are_dropped() -> None:
    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(talk())

    async def talk() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        accepted = await accept_stream(ours, None, 5.0)
        theirs.close()
        accepted.abort()
        await asyncio.sleep(0.05)
        accepted.writer.write(b"an alert")

    await asyncio.to_thread(run)
