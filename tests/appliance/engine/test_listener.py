"""The accept loop: filter, caps, and running out of file descriptors."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from appliance.config.server import HttpProxy
from appliance.domain.reason import Reason
from appliance.engine.listener import Listener, bind


def server(**settings: Any) -> HttpProxy:
    data = {"name": "s", "type": "http_proxy", "listen": {"address": "127.0.0.1:0"}} | settings
    return HttpProxy.model_validate(data)


@asynccontextmanager
async def listening(
    config: HttpProxy, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[Listener, tuple[str, int], list[Reason]]]:
    refused: list[Reason] = []

    async def serve(sock: socket.socket, peer: tuple[str, int], local: tuple[str, int]) -> None:
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            while data := await reader.read(100):
                writer.write(data)
        finally:
            writer.transport.abort()

    listener = Listener(config, [bind(host, 0, 100, reuse_port=True)], serve, lambda ip, reason: refused.append(reason))
    address = listener.socks[0].getsockname()[:2]
    listener.start()
    try:
        yield listener, address, refused
    finally:
        listener.stop()
        for task in listener.tasks:
            task.cancel()
        await asyncio.gather(*listener.tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the loop closes the sockets


async def echo(address: tuple[str, int]) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"ping")
    try:
        return await asyncio.wait_for(reader.read(4), 5)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_srv_14_denied_networks_are_closed_before_parsing() -> None:
    config = server(ingress_network_filter={"default": "allow", "deny": ["127.0.0.0/8"], "allow": ["127.9.0.0/16"]})
    async with listening(config) as (listener, address, refused):
        assert await echo(address) == b""
        assert refused == [Reason.NETWORK_DENIED]
        assert listener.accepted == 0


async def test_accepted_sockets_inherit_what_the_listening_one_has() -> None:
    """A proxy's writes are whole messages, and a silent peer may be gone."""
    options: list[tuple[int, int]] = []

    async def serve(sock: socket.socket, peer: tuple[str, int], local: tuple[str, int]) -> None:
        with sock:
            nodelay = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            options.append((nodelay, sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)))

    listener = Listener(server(), [bind("127.0.0.1", 0, 100, reuse_port=True)], serve, lambda ip, reason: None)
    address = listener.socks[0].getsockname()[:2]
    listener.start()
    assert await echo(address) == b""
    listener.stop()
    assert options == [(1, 1)]


async def test_srv_17_connection_cap_at_the_limit_and_no_leak() -> None:
    async with listening(server(max_connections=2)) as (listener, address, refused):
        held = [await asyncio.open_connection(*address) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert await echo(address) == b""
        assert refused == [Reason.RESOURCE_EXHAUSTED]
        for _, writer in held:
            writer.close()
        while listener.active:
            await asyncio.sleep(0.01)
        for _ in range(300):
            assert await echo(address) == b"ping"
        while listener.active:
            await asyncio.sleep(0.01)
        assert not listener._per_client


async def test_connections_per_client() -> None:
    async with listening(server(limits={"connections_per_client": 1})) as (_, address, refused):
        _, writer = await asyncio.open_connection(*address)
        await asyncio.sleep(0.05)
        assert await echo(address) == b""
        assert refused == [Reason.TOO_MANY_CONNECTIONS]
        writer.close()


async def test_srv_12_dual_stack() -> None:
    async with listening(server(), host="::") as (_, address, _refused):
        assert await echo(("127.0.0.1", address[1])) == b"ping"
        assert await echo(("::1", address[1])) == b"ping"


async def test_tcp_01_out_of_descriptors_pauses_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP-01: EMFILE is a pause and a count, not the end."""
    monkeypatch.setattr("appliance.engine.listener.PAUSE", 0.1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with listening(server()) as (_, address, refused):
        client = socket.socket()
        client.setblocking(False)
        used = client.fileno() + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
        try:
            await asyncio.get_running_loop().sock_connect(client, address)
            while Reason.RESOURCE_EXHAUSTED not in refused:
                await asyncio.sleep(0.02)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await asyncio.get_running_loop().sock_sendall(client, b"ping")
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 4), 5) == b"ping"
        client.close()


def test_a_port_in_use_is_named() -> None:
    with bind("127.0.0.1", 0, 1, reuse_port=False) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
            bind("127.0.0.1", port, 1, reuse_port=False)
