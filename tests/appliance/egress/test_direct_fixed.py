"""ESC-06 and the connect itself, against real sockets."""

import asyncio
import socket

import pytest

from appliance.domain.errors import TaskError, UpstreamError
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.egress.context import EscapeContext
from appliance.egress.dialer import Dialer
from tests.appliance.egress.ways import blackhole, close, closed_port, dialer, node, origin, registry, resolver, wish

BOTH = resolver(hosts={"both.test": ["127.0.0.1", "::1"]})


async def failure(out: Dialer, ctx: EscapeContext) -> TaskError:
    with pytest.raises(TaskError) as caught:
        await out.connect("d", ctx)
    assert caught.value.escape
    assert caught.value.escape.error == str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [("IPv4First", "127.0.0.1"), ("IPv6First", "::1"), ("IPv4Only", "127.0.0.1"), ("IPv6Only", "::1")],
)
async def test_esc_06_strategy_decides_between_a_and_aaaa(strategy: str, expected: str) -> None:
    way = node("d", "direct_fixed", resolver="static", resolve_strategy=strategy)
    async with origin("127.0.0.1") as four, origin("::1", four.port) as six, dialer(way, resolvers=[BOTH]) as out:
        dialed = await out.connect("d", wish("both.test", four.port))
        await close(dialed)
    assert dialed.notes.resolved_ip == expected
    assert [*four.peers, *six.peers] == [expected]


async def test_esc_06_the_other_family_is_the_second_try() -> None:
    way = node("d", "direct_fixed", resolver="static", resolve_strategy="IPv6First")
    async with origin("127.0.0.1") as server, dialer(way, resolvers=[BOTH]) as out:
        dialed = await out.connect("d", wish("both.test", server.port))
        await close(dialed)
    assert (dialed.notes.resolved_ip, dialed.notes.tries) == ("127.0.0.1", 2)


async def test_esc_06_only_means_only() -> None:
    way = node("d", "direct_fixed", resolver="static", resolve_strategy="IPv6Only", retry_attempts=5)
    async with origin("127.0.0.1") as server, dialer(way, resolvers=[BOTH]) as out:
        error = await failure(out, wish("both.test", server.port))
    assert error.reason is Reason.CONNECT_REFUSED
    assert server.peers == []


async def test_esc_06_origin_sees_the_bound_source_address() -> None:
    way = node("d", "direct_fixed", bind_ip=["127.0.0.9"])
    async with origin() as server, dialer(way) as out:
        dialed = await out.connect("d", wish("127.0.0.1", server.port))
        await close(dialed)
    assert server.peers == ["127.0.0.9"]
    assert dialed.notes.local_addr.startswith("127.0.0.9:")


async def test_esc_06_a_family_without_a_bound_address_is_not_used() -> None:
    way = node("d", "direct_fixed", resolver="static", bind_ip=["127.0.0.9"], resolve_strategy="IPv6Only")
    async with origin("::1") as server, dialer(way, resolvers=[BOTH]) as out:
        error = await failure(out, wish("both.test", server.port))
    assert (error.reason, server.peers) == (Reason.CONNECT_FAILED, [])
    assert "bind_ip" in error.detail


async def test_esc_06_an_address_that_is_not_ours_is_an_error_and_no_crash() -> None:
    async with origin() as server, dialer(node("d", "direct_fixed", bind_ip=["8.8.8.8"])) as out:
        error = await failure(out, wish("127.0.0.1", server.port))
    assert error.reason is Reason.CONNECT_FAILED


async def test_refused_is_told_from_timeout() -> None:
    async with dialer(node("d", "direct_fixed", retry_attempts=0, connect_timeout=30)) as out:
        refused = await failure(out, wish("127.0.0.1", closed_port()))
    with blackhole() as port:
        async with dialer(node("d", "direct_fixed", retry_attempts=0, connect_timeout=0.2)) as out:
            silent = await failure(out, wish("127.0.0.1", port))
    assert (refused.reason, silent.reason) == (Reason.CONNECT_REFUSED, Reason.CONNECT_TIMEOUT)
    assert refused.retryable
    assert silent.retryable


async def test_a_silent_address_leaves_time_for_the_next() -> None:
    with blackhole("127.0.0.1") as port:
        way = node("d", "direct_fixed", resolver="static", connect_timeout=2)
        hosts = resolver(hosts={"two.test": ["127.0.0.1", "127.0.0.5"]})
        async with origin("127.0.0.5", port) as server, dialer(way, resolvers=[hosts]) as out:
            dialed = await out.connect("d", wish("two.test", port))
            await close(dialed)
    assert (dialed.notes.tries, server.peers) == (2, ["127.0.0.1"])


@pytest.mark.parametrize("attempts", [0, 1, 4])
async def test_esc_25_retry_attempts_bound_the_tries(attempts: int) -> None:
    async with dialer(node("d", "direct_fixed", retry_attempts=attempts)) as out:
        error = await failure(out, wish("127.0.0.1", closed_port()))
    assert error.escape
    assert error.escape.tries == attempts + 1


async def test_esc_03_notes_tell_the_whole_way() -> None:
    router = node("root", "route_upstream", rules=[{"child_match": "test", "next": "d"}], fallback_next="d")
    way = node("d", "direct_fixed", resolver="static")
    async with origin() as server, dialer(router, way, resolvers=[resolver(hosts={"o.test": ["127.0.0.1"]})]) as out:
        dialed = await out.connect("root", wish("o.test", server.port))
        notes = dialed.notes
        assert notes.local_addr == "{}:{}".format(*dialed.writer.get_extra_info("sockname"))
        await close(dialed)
    assert (notes.path, notes.rules) == (("root", "d"), ("root: child_match test",))
    assert (notes.next_hop, notes.resolved_ip, notes.tries, notes.error) == (f"o.test:{server.port}", "127.0.0.1", 1, "")
    assert set(notes.ms) == {"dns", "connect"}


async def test_dns_failure_has_its_own_reason() -> None:
    def lookup(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with dialer(node("d", "direct_fixed"), lookup=lookup) as out:
        error = await failure(out, wish("nowhere.test"))
    assert error.reason is Reason.DNS_FAILED
    assert "nowhere.test: Name or service not known" in error.detail


async def test_own_listener_is_refused_even_where_loopback_is_allowed() -> None:
    async with origin() as server:
        own = [Target("0.0.0.0", server.port)]
        async with dialer(node("d", "direct_fixed"), own=own) as out:
            for host in ("127.0.0.1", "127.0.0.2"):
                error = await failure(out, wish(host, server.port))
                assert error.reason is Reason.EGRESS_DENIED
    assert server.peers == []


async def test_streams_are_tuned_and_come_from_the_given_factory() -> None:
    class Ours(asyncio.StreamReader):
        pass

    built = registry(node("d", "direct_fixed"))
    out = Dialer(built, reader_factory=lambda: Ours(limit=1000))
    async with origin(say=b"hello") as server:
        dialed = await out.connect("d", wish("127.0.0.1", server.port))
        assert isinstance(dialed.reader, Ours)
        assert await dialed.reader.readexactly(5) == b"hello"
        sock = dialed.writer.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        await close(dialed)
    built.close()


async def test_the_reader_limit_is_settable() -> None:
    built = registry(node("d", "direct_fixed"))
    async with origin(say=b"x" * 5000) as server:
        dialed = await Dialer(built, limit=1000).connect("d", wish("127.0.0.1", server.port))
        with pytest.raises(asyncio.LimitOverrunError):
            await dialed.reader.readuntil(b"\n")
        await close(dialed)
    built.close()


async def test_cancelling_a_connect_leaves_no_task_and_no_error() -> None:
    with blackhole() as port:
        async with dialer(node("d", "direct_fixed")) as out:
            before = asyncio.all_tasks()
            dialing = asyncio.create_task(out.connect("d", wish("127.0.0.1", port)))
            await asyncio.sleep(0.05)
            dialing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dialing
            assert asyncio.all_tasks() == before


async def test_a_connection_that_meets_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound to the very port that is dialled, TCP connects to itself; only then are both ends the same."""
    loop = asyncio.get_running_loop()
    connect = loop.create_connection
    port = closed_port()

    async def from_the_same_port(factory: object, host: str, dialled: int, **_: object) -> object:
        return await connect(factory, host, dialled, local_addr=(host, port))  # type: ignore[call-overload]

    monkeypatch.setattr(loop, "create_connection", from_the_same_port)
    async with dialer(node("d", "direct_fixed", retry_attempts=0)) as out:
        error = await failure(out, wish("127.0.0.1", port))
    assert error.reason is Reason.CONNECT_REFUSED
    assert "itself" in error.detail


def test_errors_of_the_network_are_upstream_errors() -> None:
    assert issubclass(UpstreamError, TaskError)
