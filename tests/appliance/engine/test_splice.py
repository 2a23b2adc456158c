"""The splice lane over real sockets."""

import asyncio
import hashlib
import os
import socket
import struct

import pytest

from appliance.engine.deadlines import Deadlines
from appliance.engine.splice import Relay, relay
from tests.appliance.engine.pairs import stream_pair


def nothing(_: Relay) -> None:
    """No deadlines in this test."""


async def test_tcp_02_100_mb_both_ways_with_half_close() -> None:
    """TCP-02: both directions arrive whole, and the server's data still arrives after the client's FIN."""
    size = 100 * 1024 * 1024
    block = os.urandom(1024 * 1024)
    async with stream_pair() as (client_side, c_reader, c_writer), stream_pair() as (server_side, s_reader, s_writer):
        joined = asyncio.create_task(relay(client_side, server_side.reader, server_side.writer, 30, nothing, nothing))

        async def send(writer: asyncio.StreamWriter) -> str:
            digest = hashlib.sha256()
            for _ in range(size // len(block)):
                writer.write(block)
                digest.update(block)
                await writer.drain()
            writer.write_eof()
            return digest.hexdigest()

        async def receive(reader: asyncio.StreamReader) -> str:
            digest = hashlib.sha256()
            while data := await reader.read(1 << 18):
                digest.update(data)
            return digest.hexdigest()

        up, got_up = await asyncio.gather(send(c_writer), receive(s_reader))
        down, got_down = await asyncio.gather(send(s_writer), receive(c_reader))
        assert (up, down) == (got_up, got_down)
        done = await joined
        assert (done.bytes_in, done.bytes_out) == (size, size)


async def test_bytes_already_buffered_are_relayed_first() -> None:
    async with stream_pair() as (client_side, c_reader, c_writer), stream_pair() as (server_side, s_reader, s_writer):
        c_writer.write(b"hello ")
        assert await client_side.reader.peek(6) == b"hello "
        joined = asyncio.create_task(relay(client_side, server_side.reader, server_side.writer, 30, nothing, nothing))
        await asyncio.sleep(0)
        c_writer.write(b"world")
        c_writer.write_eof()
        assert await s_reader.read() == b"hello world"
        s_writer.write(b"bye")
        s_writer.write_eof()
        assert await c_reader.read() == b"bye"
        await joined


async def test_a_reset_ends_both_sides() -> None:
    async with stream_pair() as (client_side, c_reader, c_writer), stream_pair() as (server_side, s_reader, _):
        joined = asyncio.create_task(relay(client_side, server_side.reader, server_side.writer, 30, nothing, nothing))
        await asyncio.sleep(0.05)
        linger = struct.pack("ii", 1, 0)
        c_writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        c_writer.transport.abort()
        await asyncio.wait_for(joined, 5)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await s_reader.readexactly(1)


async def test_tcp_06_idle_in_both_directions_ends_the_relay() -> None:
    """TCP-06: idle, not total, time counts."""
    deadlines = Deadlines()
    checking = asyncio.create_task(deadlines.run())
    async with stream_pair() as (client_side, _, c_writer), stream_pair() as (server_side, s_reader, _):
        joined = asyncio.create_task(
            relay(client_side, server_side.reader, server_side.writer, 1.0, deadlines.add, deadlines.discard)
        )
        for _ in range(6):
            await asyncio.sleep(0.3)
            c_writer.write(b"x")
        assert await s_reader.readexactly(6) == b"xxxxxx"
        assert not joined.done()
        done = await asyncio.wait_for(joined, 10)
        assert done.timed_out
        assert len(deadlines) == 0
    checking.cancel()
