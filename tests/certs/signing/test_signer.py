"""Both ends over real sockets: many questions, a signer that dies, one that hangs, and guests that are not welcome (TLS-08)."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from appliance.domain.errors import InternalError
from appliance.domain.reason import Reason
from certs.scope import Scope
from certs.signing import client as client_module
from certs.signing import place
from certs.signing import server as server_module
from certs.signing.client import SignerClient
from certs.signing.server import MAX_PENDING, SignerServer
from certs.signing.wire import MAX_BODY, Decoder, Kind, Message
from tests.certs.signing.test_leaf_desk import Place
from tests.certs.test_cache import profile

type Handler = Callable[[bytes], Awaitable[bytes]]


async def echo(body: bytes) -> bytes:
    return body


class Signer:
    """A listening socket that stays, as the parent's does, and servers that come and go behind it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.listening = place.bind(directory)
        self.told: list[tuple[Kind, str]] = []
        self.server: SignerServer | None = None

    def up(self, handler: Handler = echo, **options: int) -> SignerServer:
        self.server = SignerServer(self.listening, {Kind.LEAF: handler}, lambda *told: self.told.append(told), **options)
        self.server.start()
        return self.server

    def down(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None


@pytest.fixture
async def signer(tmp_path) -> AsyncIterator[Signer]:
    signer = Signer(tmp_path)
    yield signer
    signer.down()
    await asyncio.sleep(0)
    signer.listening.close()


@contextlib.asynccontextmanager
async def client(signer: Signer, **options: object) -> AsyncIterator[SignerClient]:
    made = SignerClient(lambda: place.connect(signer.directory), **options)
    try:
        yield made
    finally:
        await made.close()
        await asyncio.sleep(0)


async def test_a_thousand_questions_share_one_connection(signer):
    server = signer.up()
    async with client(signer) as asking:
        bodies = [str(number).encode() for number in range(1000)]
        assert await asyncio.gather(*(asking.ask(Kind.LEAF, body) for body in bodies)) == bodies
        assert server.connections == 1
        assert asking.trouble == ""
    assert signer.told == [(Kind.LEAF, "ok")] * 1000


async def test_answers_come_in_any_order(signer):
    gates = {name: asyncio.Event() for name in (b"first", b"second")}

    async def gated(body: bytes) -> bytes:
        await gates[body].wait()
        return body

    signer.up(gated)
    async with client(signer) as asking:
        first, second = (asyncio.create_task(asking.ask(Kind.LEAF, name)) for name in gates)
        gates[b"second"].set()
        assert await second == b"second"
        assert not first.done()
        gates[b"first"].set()
        assert await first == b"first"


async def test_tls_08_a_leaf_over_the_socket_is_a_leaf(signer, clock):
    desk = Place(clock)
    signer.up(desk.desk.answer)
    async with client(signer) as one, client(signer) as other:
        leaves = await asyncio.gather(
            *(each.leaf(Scope("a", desk.a.fingerprint), profile("a.test")) for each in (one, other) * 50)
        )
        assert len({leaf.certificate.serial_number for leaf in leaves}) == 1, "TLS-07: also for two workers"
        assert leaves[0].key.public_key() == leaves[0].certificate.public_key()
        with pytest.raises(InternalError, match="no CA with the fingerprint") as error:
            await one.leaf(Scope("a", "00" * 32), profile("a.test"))
        assert error.value.reason is Reason.INTERNAL_ERROR


async def test_tls_08_an_answer_that_cannot_be_read_is_no_leaf(signer):
    signer.up(echo)
    async with client(signer) as asking:
        with pytest.raises(InternalError, match="cannot be read") as error:
            await asking.leaf(Scope("a", "00" * 32), profile("a.test"))
        assert error.value.reason is Reason.SIGNER_UNAVAILABLE


async def test_failures_keep_their_reason(signer):
    async def fail(body: bytes) -> bytes:
        if body == b"named":
            raise InternalError(Reason.RESOURCE_EXHAUSTED, "too much")
        raise {b"malformed": ValueError("x"), b"broken": ZeroDivisionError("secret")}[body]

    signer.up(fail)
    async with client(signer) as asking:
        for body, reason, detail in [
            (b"named", Reason.RESOURCE_EXHAUSTED, "too much"),
            (b"malformed", Reason.INTERNAL_ERROR, "malformed question"),
            (b"broken", Reason.INTERNAL_ERROR, "ZeroDivisionError"),
        ]:
            with pytest.raises(InternalError) as error:
                await asking.ask(Kind.LEAF, body)
            assert (error.value.reason, error.value.detail) == (reason, detail)


async def test_a_kind_without_a_handler_is_refused(signer):
    signer.up()
    async with client(signer) as asking:
        with pytest.raises(InternalError):
            await asking.ask(Kind.ANSWER, b"x")
        assert await asking.ask(Kind.LEAF, b"x") == b"x"


async def test_tls_08_questions_wait_while_the_signer_is_started(signer):
    async with client(signer) as asking:
        waiting = asyncio.create_task(asking.ask(Kind.LEAF, b"x"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        signer.up()
        assert await waiting == b"x"


async def test_tls_08_a_question_under_way_when_the_signer_dies_is_asked_again(signer):
    asked = asyncio.Event()

    async def never(_body: bytes) -> bytes:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    signer.up(never)
    async with client(signer) as asking:
        waiting = [asyncio.create_task(asking.ask(Kind.LEAF, body)) for body in (b"x", b"y")]
        await asked.wait()
        signer.down()
        signer.up()
        assert await asyncio.gather(*waiting) == [b"x", b"y"]


async def test_tls_08_a_question_that_two_signers_died_of_is_given_up(signer):
    deaths = 0

    async def die(_body: bytes) -> bytes:
        nonlocal deaths
        deaths += 1
        signer.down()
        signer.up(die)
        await asyncio.Event().wait()
        raise AssertionError

    signer.up(die)
    async with client(signer) as asking:
        with pytest.raises(InternalError, match="connection to it was lost") as error:
            await asking.ask(Kind.LEAF, b"poison")
        assert error.value.reason is Reason.SIGNER_UNAVAILABLE
        assert deaths == 2


@pytest.mark.parametrize("listening", [True, False], ids=["hangs", "gone"])
async def test_tls_08_nobody_answers_within_the_deadline(signer, listening):
    told: list[tuple[Kind, str, float]] = []
    if not listening:
        signer.listening.close()
    async with client(signer, deadline=0.1, told=lambda *each: told.append(each)) as asking:
        with pytest.raises(InternalError) as error:
            await asking.ask(Kind.LEAF, b"x")
        assert error.value.reason is Reason.SIGNER_UNAVAILABLE
        assert asking.trouble == ("no answer within 0.1 s" if listening else "cannot be reached: Connection refused")
    assert [(kind, result) for kind, result, _ in told] == [(Kind.LEAF, "signer_unavailable")]


async def test_a_late_answer_says_that_all_is_well_again(signer):
    async with client(signer, deadline=0.1) as asking:
        with pytest.raises(InternalError):
            await asking.ask(Kind.LEAF, b"x")
        signer.up()
        while asking.trouble:
            await asyncio.sleep(0.01)


async def test_a_signer_that_reads_nothing_does_not_fill_our_memory(signer, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_UNSENT", 64 * 1024)
    async with client(signer, deadline=0.2) as asking:
        asking.start()
        await asyncio.sleep(0.01)
        asked = [asyncio.create_task(asking.ask(Kind.LEAF, bytes(MAX_BODY))) for _ in range(40)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(each) for each in results} == {InternalError}
        assert any("waiting for it" in str(each) for each in results), "refused at once"


async def test_the_number_of_questions_is_bounded(signer, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_WAITING", 10)
    async with client(signer) as asking:
        waiting = [asyncio.create_task(asking.ask(Kind.LEAF, b"x")) for _ in range(10)]
        await asyncio.sleep(0)
        with pytest.raises(InternalError, match="10 questions are waiting"):
            await asking.ask(Kind.LEAF, b"x")
        signer.up()
        assert await asyncio.gather(*waiting) == [b"x"] * 10


async def test_a_closed_client_asks_nothing(signer):
    signer.up()
    async with client(signer) as asking:
        await asking.ask(Kind.LEAF, b"x")
        await asking.close()
        with pytest.raises(InternalError):
            await asking.ask(Kind.LEAF, b"x")


# -- who may ask --


async def closed(signer: Signer, send: bytes = b"") -> bytes:
    """What comes until the signer closes the connection."""
    reader, writer = await asyncio.open_unix_connection(sock=place.connect(signer.directory))
    try:
        if send:
            writer.write(send)
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.security
async def test_tls_08_another_user_is_not_answered(signer):
    signer.up(user=os.geteuid() + 1)
    assert await closed(signer) == b""
    assert signer.told == []


@pytest.mark.security
async def test_the_number_of_connections_is_bounded(signer):
    server = signer.up(max_connections=2)
    async with client(signer) as one, client(signer) as two:
        assert await one.ask(Kind.LEAF, b"x") == await two.ask(Kind.LEAF, b"x")
        assert await closed(signer) == b""
        assert server.connections == 2


@pytest.mark.security
@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\xff" * 64])
async def test_what_is_no_message_ends_the_connection(signer, junk):
    signer.up()
    assert await closed(signer, junk) == b""
    async with client(signer) as asking:
        assert await asking.ask(Kind.LEAF, b"x") == b"x"


@pytest.mark.security
async def test_one_that_reads_no_answers_is_not_read_any_more(signer):
    """A worker gone wild must not fill the memory of the signer."""
    signer.up()
    sock = place.connect(signer.directory)
    with sock:
        question, sent = Message(Kind.LEAF, 1, bytes(MAX_BODY)).to_bytes(), 0
        quiet = 0
        while quiet < 20:
            try:
                sent += sock.send(question)
                quiet = 0
            except BlockingIOError:
                quiet += 1
            await asyncio.sleep(0.005)
        assert sent < (MAX_PENDING + 10) * len(question)
        async with client(signer) as asking:
            assert await asking.ask(Kind.LEAF, b"x") == b"x"


async def test_a_signer_that_sends_no_message_is_left_and_found_again(signer):
    reader_ready = asyncio.Event()
    signer.listening.setblocking(False)

    async def false_signer() -> None:
        sock, _ = await asyncio.get_running_loop().sock_accept(signer.listening)
        with sock:
            await asyncio.get_running_loop().sock_recv(sock, 100)
            await asyncio.get_running_loop().sock_sendall(sock, bytes(100))
            await asyncio.get_running_loop().sock_recv(sock, 100)
        reader_ready.set()

    async with client(signer) as asking:
        impostor = asyncio.create_task(false_signer())
        waiting = asyncio.create_task(asking.ask(Kind.LEAF, b"x"))
        await reader_ready.wait()
        signer.up()
        assert await waiting == b"x"
        await impostor


def test_the_decoder_of_an_answer_is_the_same():
    message = Message(Kind.FAILURE, 3, b"internal_error: x")
    assert list(Decoder().feed(message.to_bytes())) == [message]


# -- what goes wrong with the machine --


class Crowded:
    """A listening socket in a process whose table of descriptors is full, for a time."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.full, self.asked = sock, True, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.sock, name)

    def accept(self) -> tuple[socket.socket, object]:
        self.asked += 1
        if self.full:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return self.sock.accept()


async def test_tls_08_a_full_table_of_descriptors_is_waited_for_and_not_asked_without_end(signer, monkeypatch, caplog):
    monkeypatch.setattr(server_module, "REST", 0.1)
    crowded = Crowded(signer.listening)
    server = SignerServer(crowded, {Kind.LEAF: echo})
    server.start()
    try:
        async with client(signer) as asking:
            waiting = asyncio.create_task(asking.ask(Kind.LEAF, b"x"))
            await asyncio.sleep(0.05)
            assert crowded.asked == 1
            assert "no connection to the signer can be taken: Too many open files" in caplog.text
            crowded.full = False
            assert await waiting == b"x"
    finally:
        server.stop()


async def test_a_signer_that_stops_while_it_rests_stays_stopped(signer, monkeypatch):
    monkeypatch.setattr(server_module, "REST", 0.02)
    crowded = Crowded(signer.listening)
    server = SignerServer(crowded, {Kind.LEAF: echo})
    server.start()
    with place.connect(signer.directory):
        await asyncio.sleep(0.01)
        server.stop()
        asked = crowded.asked
        await asyncio.sleep(0.05)
        assert crowded.asked == asked >= 1


async def test_an_answer_that_no_message_holds_is_a_failure_with_a_reason(signer):
    async def long(body: bytes) -> bytes:
        return bytes(MAX_BODY + len(body))

    signer.up(long)
    async with client(signer) as asking:
        assert len(await asking.ask(Kind.LEAF, b"")) == MAX_BODY
        with pytest.raises(InternalError, match=f"an answer of {MAX_BODY + 1} octets") as error:
            await asking.ask(Kind.LEAF, b"x")
        assert error.value.reason is Reason.INTERNAL_ERROR
    assert signer.told == [(Kind.LEAF, "ok"), (Kind.LEAF, "internal_error")]


async def test_tls_08_whatever_happens_while_connecting_it_is_tried_again(signer):
    tries = 0

    def connect() -> socket.socket:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ValueError("nobody thought of this")
        return place.connect(signer.directory)

    signer.up()
    asking = SignerClient(connect)
    try:
        assert await asking.ask(Kind.LEAF, b"x") == b"x"
        assert tries == 2
    finally:
        await asking.close()
