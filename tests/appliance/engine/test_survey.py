"""Looks at real servers: what is remembered, for whom and how long, and what a bad server costs."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from appliance.config.survey import Survey as SurveyConfig
from appliance.domain.clock import ManualClock, SystemClock
from appliance.domain.errors import UpstreamError
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, EscapeNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.egress.escaper import Dialed
from appliance.engine.survey import Survey, Surveyor
from certs.trust import UpstreamTrust
from tests.appliance.engine.gates import connection

A, B = TenantId("a"), TenantId("b")


class Network:
    """Dials by a table; ``dialled`` in order. ``fail``: instead of a connection."""

    def __init__(self) -> None:
        self.dialled: list[tuple[str, int]] = []
        self.fail: UpstreamError | None = None
        self.port = 0
        self.silent = False

    async def __call__(self, conn: ConnNotes, address: tuple[str, int], protocol: str) -> Dialed:
        assert protocol == "tls"
        self.dialled.append(address)
        if self.fail is not None:
            raise self.fail
        if self.silent:
            await asyncio.Event().wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        return Dialed(reader, writer, EscapeNotes(resolved_ip="127.0.0.1"))


class Place:
    def __init__(self, roots: Path, **config: float) -> None:
        self.network, self.clock = Network(), ManualClock()
        surveyor = Surveyor(UpstreamTrust([roots], system_roots=False, clock=SystemClock()), SurveyConfig(**config))
        self.escaper = "direct"
        self.survey = Survey(self.network, {A: surveyor, B: surveyor}, lambda _: self.escaper, self.clock, capacity=3)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def roots(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("roots") / "root.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@contextlib.asynccontextmanager
async def serving(place: Place, authority: trustme.CA, *names: str) -> AsyncIterator[None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(["h2"])

    async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(idle, "127.0.0.1", 0, ssl=context)
    place.network.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()


def of(tenant: TenantId = A) -> ConnNotes:
    return connection(tenant=tenant)


TARGET = Target("origin.test", 443)


async def test_c1_a_server_is_looked_at_once_and_again_when_its_time_is_over(authority: trustme.CA, roots: Path) -> None:
    place = Place(roots, ttl=600.0)
    async with serving(place, authority, "origin.test"):
        first = await place.survey.look(of(), TARGET, "origin.test", ("h2", "http/1.1"))
        assert (first.reason, first.alpn, first.address) == (Reason.OK, "h2", "127.0.0.1")
        place.clock.advance(599.9)
        assert await place.survey.look(of(), TARGET, "origin.test", ("h2", "http/1.1")) is first
        place.clock.advance(0.1)
        again = await place.survey.look(of(), TARGET, "origin.test", ("h2", "http/1.1"))
        assert again == first
        assert again is not first
    assert place.network.dialled == [("origin.test", 443)] * 2
    assert place.survey.counters == {"looked": 2, "hit": 1}


async def test_c1_one_look_however_many_wait_and_one_that_goes_away_takes_nothing(authority: trustme.CA, roots: Path) -> None:
    place = Place(roots)
    async with serving(place, authority, "origin.test"):
        conn = of()
        looks = [asyncio.create_task(place.survey.look(conn if number == 0 else of(), TARGET)) for number in range(20)]
        await asyncio.sleep(0)
        conn.tenant = None
        looks[0].cancel()
        found = await asyncio.gather(*looks, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert [facts.reason for facts in found[1:] if not isinstance(facts, BaseException)] == [Reason.OK] * 19
    assert len(place.network.dialled) == 1
    assert place.survey.counters == {"looked": 1, "joined": 19}


@pytest.mark.security
async def test_c1_nothing_is_shared_between_tenants_ways_out_names_or_protocols(authority: trustme.CA, roots: Path) -> None:
    place = Place(roots)
    async with serving(place, authority, "origin.test", "other.test"):
        await place.survey.look(of(A), TARGET)
        await place.survey.look(of(B), TARGET)
        place.escaper = "parent"
        await place.survey.look(of(A), TARGET)
        await place.survey.look(of(A), TARGET, "other.test")
        await place.survey.look(of(A), TARGET, "other.test", ("h2",))
        # a client's own protocol is neither offered nor remembered
        await place.survey.look(of(A), TARGET, "other.test", ("h2", "acme-tls/1"))
    assert place.survey.counters == {"looked": 5, "hit": 1}


async def test_c1_the_memory_is_bounded(authority: trustme.CA, roots: Path) -> None:
    place = Place(roots)
    async with serving(place, authority, "origin.test"):
        for number in (1, 2, 3, 4):
            await place.survey.look(of(), Target("origin.test", number))
        assert len(place.survey) == 3
        await place.survey.look(of(), Target("origin.test", 4))
        await place.survey.look(of(), Target("origin.test", 1))
    assert place.survey.counters == {"looked": 5, "hit": 1}


async def test_c1_a_failure_is_named_and_soon_forgotten(roots: Path) -> None:
    place = Place(roots, failure_ttl=30.0)
    place.network.fail = UpstreamError(Reason.CONNECT_REFUSED, "192.0.2.7 port 443")
    facts = await place.survey.look(of(), TARGET)
    assert (facts.reason, facts.detail, facts.reached) == (Reason.CONNECT_REFUSED, "192.0.2.7 port 443", False)
    place.clock.advance(29.0)
    await place.survey.look(of(), TARGET)
    place.clock.advance(1.0)
    await place.survey.look(of(), TARGET)
    assert place.survey.counters == {"looked": 2, "hit": 1}


async def test_c1_a_bad_certificate_is_remembered_as_a_failure(authority: trustme.CA, roots: Path) -> None:
    place = Place(roots, failure_ttl=0.0)
    async with serving(place, authority, "another.test"):
        facts = await place.survey.look(of(), TARGET)
        assert facts.reason is Reason.UPSTREAM_CERT_WRONG_HOST
        assert facts.certificate is not None
        assert facts.certificate.names == ("another.test",)
        await place.survey.look(of(), TARGET)
    assert place.survey.counters == {"looked": 2}


@pytest.mark.parametrize("speech", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
async def test_c1_a_server_that_closes_or_speaks_something_else_is_a_failure(roots: Path, speech: bytes) -> None:
    place = Place(roots)

    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(speech)
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    place.network.port = server.sockets[0].getsockname()[1]
    facts = await place.survey.look(of(), TARGET)
    server.close()
    assert facts.reason in (Reason.UPSTREAM_TLS_FAILED, Reason.UPSTREAM_CLOSED)
    assert not facts.reached


async def test_c1_a_silent_server_is_left_at_the_deadline(roots: Path) -> None:
    place = Place(roots, timeout=0.2)
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    place.network.port = server.sockets[0].getsockname()[1]
    facts = await place.survey.look(of(), TARGET)
    assert facts.reason is Reason.CONNECT_TIMEOUT
    await asyncio.wait_for(gone.wait(), 10)
    server.close()


async def test_a_fault_of_our_own_reaches_whoever_waits_and_is_not_remembered(roots: Path) -> None:
    place = Place(roots)
    with pytest.raises(KeyError):
        await place.survey.look(of(TenantId("nobody")), TARGET)
    assert len(place.survey) == 0


async def test_close_ends_every_look(roots: Path) -> None:
    place = Place(roots)
    place.network.silent = True
    waiting = asyncio.create_task(place.survey.look(of(), TARGET))
    await asyncio.sleep(0)
    place.survey.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
