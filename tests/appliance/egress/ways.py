"""Short forms for building ways out in tests."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from appliance.config.escaper import Escaper
from appliance.config.resolver import SystemResolver
from appliance.domain.clock import Clock, SystemClock
from appliance.domain.errors import TaskError
from appliance.domain.ids import TenantId
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.egress.context import EscapeContext
from appliance.egress.dialer import Dialer
from appliance.egress.escaper import Dialed
from appliance.egress.registry import Registry
from appliance.egress.resolver import Lookup, system_lookup
from tests.ports import free_port

LOOPBACK = {"allow": ["127.0.0.0/8", "::1/128"]}
_NODE: TypeAdapter[Escaper] = TypeAdapter(Escaper)


def node(name: str, type: str, **fields: Any) -> Escaper:
    """One escaper, as the configuration would have it. Direct ones may reach loopback unless told otherwise."""
    if type == "direct_fixed":
        fields.setdefault("egress_network_filter", LOOPBACK)
    return _NODE.validate_python({"name": name, "type": type, **fields})


def resolver(name: str = "static", **fields: Any) -> SystemResolver:
    return SystemResolver.model_validate({"name": name, "type": "system", **fields})


def registry(
    *nodes: Escaper,
    resolvers: Sequence[SystemResolver] = (),
    own: Sequence[Target] = (),
    clock: Clock | None = None,
    lookup: Lookup = system_lookup,
) -> Registry:
    return Registry(nodes, resolvers, own, clock or SystemClock(), lookup)


def wish(host: str, port: int = 443, tenant: str = "a", **fields: Any) -> EscapeContext:
    return EscapeContext(TenantId(tenant), Target(host, port), **fields)


@contextlib.asynccontextmanager
async def dialer(*nodes: Escaper, **fields: Any) -> AsyncIterator[Dialer]:
    built = registry(*nodes, **fields)
    try:
        yield Dialer(built)
    finally:
        built.close()


async def outcome(way: Escaper) -> Reason:
    """How dialling o.test:443 along one escaper ends; a failure must carry the way it took."""
    async with dialer(way) as out:
        try:
            dialed = await out.connect(way.name, wish("o.test", protocol="tls"))
        except TaskError as error:
            escape, text = error.escape, str(error)
            reason = error.reason
        else:
            await close(dialed)
            return Reason.OK
    assert escape
    assert (escape.path, escape.error) == ((way.name,), text)
    return reason


async def fetch(dialed: Dialed, host: str, authority: str = "") -> bytes:
    """One GET over a dialled stream, in the form the dialer asks for; then the stream is closed."""
    url = f"http://{authority}/" if dialed.absolute_form else "/"
    credentials = f"Proxy-Authorization: {dialed.proxy_authorization}\r\n" if dialed.proxy_authorization else ""
    dialed.writer.write(f"GET {url} HTTP/1.1\r\nHost: {host}\r\n{credentials}Connection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(dialed.reader.read(-1), 20)
    await close(dialed)
    return answer


async def close(dialed: Dialed) -> None:
    dialed.writer.close()
    with contextlib.suppress(OSError):
        await dialed.writer.wait_closed()


@dataclass
class Origin:
    host: str
    port: int
    peers: list[str] = field(default_factory=list)
    """Source address of every connection."""


@contextlib.asynccontextmanager
async def origin(host: str = "127.0.0.1", port: int = 0, say: bytes = b"") -> AsyncIterator[Origin]:
    """Accepts, says ``say``, echoes until the other side ends."""
    seen = Origin(host, port)
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        seen.peers.append(writer.get_extra_info("peername")[0])
        writer.write(say)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, host, port)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@contextlib.contextmanager
def blackhole(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that answers no SYN: a listener whose backlog is full, as Linux drops what does not fit."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.bind((host, 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def closed_port(host: str = "127.0.0.1") -> int:
    """A port on which nobody listens."""
    return free_port(host)
