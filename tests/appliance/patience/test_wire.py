"""From worker to worker: views, files as descriptors, and what was delivered of them (C7)."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance import local_socket
from appliance.domain.reason import Reason
from appliance.patience.download import Opened
from appliance.patience.view import State
from appliance.patience.wire import MAX_LINE, Counter, Line, Unreachable
from tests.appliance.patience.bodies import Held, Place


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
async def counter(place: Place, tmp_path: Path) -> AsyncIterator[Counter]:
    made = Counter(tmp_path, "one", place.shelf.find)
    made.start()
    yield made
    made.close()
    await asyncio.sleep(0)


@pytest.fixture
def line(counter: Counter, tmp_path: Path) -> Line:
    return Line(tmp_path, counter.name)


async def test_how_far_it_is(place: Place, line: Line) -> None:
    download, body, _ = place.begin()
    body.data = b"x" * 70
    view = await line.look(download.number)
    assert view is not None
    assert (view.state, view.received) == (State.RECEIVING, 70)
    line.close()
    assert await line.look("unknown") is None
    line.close()


async def test_a_file_is_handed_over_and_recorded_when_it_was_delivered(place: Place, line: Line) -> None:
    download, body, task = place.begin(body=Held(b"0123456789", ended=True))
    assert not isinstance(await line.take(download.number), Opened)
    line.close()
    download.ready(body, (("Content-Type", "x/y"),))
    opened = await line.take(download.number)
    assert isinstance(opened, Opened)
    assert (os.pread(opened.descriptor, 10, 0), opened.size) == (b"0123456789", 10)
    assert not os.get_inheritable(opened.descriptor)
    os.close(opened.descriptor)
    assert download.fetching == 1
    await line.sent(0, 10)
    assert task.records == [(Reason.OK, 10)]
    line.close()


async def test_a_client_that_leaves_is_told_of_without_waiting(place: Place, line: Line) -> None:
    download, body, task = place.begin(body=Held(b"0123456789", ended=True))
    download.ready(body, ())
    opened = await line.take(download.number)
    assert isinstance(opened, Opened)
    os.close(opened.descriptor)
    line.leave(0, 4)
    async with asyncio.timeout(10):
        while download.fetching:
            await asyncio.sleep(0.01)
    download.sent(4, 10)
    assert task.records == [(Reason.OK, 10)]


@pytest.mark.security
async def test_a_delivery_that_cannot_be_recorded_has_failed(place: Place, line: Line) -> None:
    download, body, task = place.begin(body=Held(b"0123456789", ended=True))
    download.ready(body, ())
    opened = await line.take(download.number)
    assert isinstance(opened, Opened)
    os.close(opened.descriptor)
    task.full = True
    with pytest.raises(Unreachable, match="recorded"):
        await line.sent(0, 10)
    line.close()


@pytest.mark.security
async def test_a_file_that_cannot_be_handed_over_is_not_held_for_ever(place: Place, line: Line) -> None:
    """A server's field that is too long for the socket, or a client that left meanwhile: no delivery is under way."""
    download, body, task = place.begin(body=Held(b"0123456789", ended=True))
    download.ready(body, (("Content-Type", "\u00ff" * 100_000),))
    with pytest.raises(Unreachable):
        await line.take(download.number)
    line.close()
    assert download.fetching == 0
    place.pass_time(place.config.keep + 1)
    assert (task.records, body.closed) == ([(Reason.DOWNLOAD_ABANDONED, 0)], True)


@pytest.mark.security
async def test_downloads_are_found_again_after_a_moment_without_descriptors(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, [OSError(errno.EMFILE, "Too many open files")]

    async def failing(sock: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return await accept(sock)

    monkeypatch.setattr(loop, "sock_accept", failing)
    download, _, _ = place.begin()
    counter = Counter(tmp_path, "two", place.shelf.find)
    counter.start()
    line = Line(tmp_path, "two")
    assert await line.look(download.number) is not None
    line.close()
    counter.close()


async def test_a_worker_that_has_ended_is_said_to(tmp_path: Path, counter: Counter, line: Line) -> None:
    counter.close()
    for name in ("one", "never"):
        with pytest.raises(Unreachable):
            await Line(tmp_path, name).look("x")


async def test_what_a_killed_worker_left_is_removed(tmp_path: Path, counter: Counter) -> None:
    for name in ("dead", "young"):
        local_socket.bind(tmp_path, f"{name}.patience").close()
    for path in tmp_path.iterdir():
        if path.name != "young.patience":
            os.utime(path, (0, 0))
    second = Counter(tmp_path, "two", lambda _number: None)
    second.start()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.patience", "two.patience", "young.patience"]
    second.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.patience", "young.patience"]


@pytest.mark.parametrize("said", [b"{}\n", b"[]\n", b"no\n", b'{"do":"look"}\n', b"x" * (MAX_LINE + 1)])
async def test_nonsense_ends_that_connection_alone(place: Place, counter: Counter, tmp_path: Path, said: bytes) -> None:
    download, _, _ = place.begin()
    sock = local_socket.connect(tmp_path, "one.patience")
    loop = asyncio.get_running_loop()
    with sock:
        try:
            await loop.sock_sendall(sock, said)
            assert await loop.sock_recv(sock, 10) == b""
        except ConnectionError:
            assert len(said) > MAX_LINE
    line = Line(tmp_path, "one")
    assert await line.look(download.number) is not None
    line.close()


@pytest.mark.security
def test_nobody_else_may_connect(tmp_path: Path) -> None:
    sock = local_socket.bind(tmp_path, "one.patience")
    with sock:
        assert (tmp_path / "one.patience").stat().st_mode & 0o777 == 0o600
        assert sock.family is socket.AF_UNIX
