"""The supervisor with children that are nothing but processes: starts, restarts, back-off, generations, the ways to stop."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.engine import generation as module
from appliance.engine.child import Child
from appliance.engine.generation import BACKOFF, Generation, NotReady
from appliance.engine.supervisor import MAX_LEAVING, Supervisor

PROGRAM = """
import os, pickle, signal, socket, sys, time
kind, index, fd = sys.argv[1:4]
with os.fdopen(int(fd), "rb") as file:
    told = pickle.load(file)
payload, fds, secret = pickle.loads(told["payload"]), told["sockets"], told["secret"]
line = socket.socket(fileno=told["line"])
stop = []
signal.signal(signal.SIGHUP, lambda *_: stop.append("hup") if kind != "deaf" else None)
signal.signal(signal.SIGTERM, lambda *_: stop.append("term") if kind != "deaf" else None)
signal.signal(signal.SIGINT, lambda *_: stop.append("int") if kind != "deaf" else None)
with open(f"{payload}/{kind}-{index}-{os.getpid()}", "w") as out:
    out.write(",".join(sorted(fds)) + secret.decode())
if kind == "short":
    sys.exit(3)
if kind == "other":
    sys.exit(69)
if kind != "mute":
    line.sendall(b"r")
    if line.recv(1) != b"b":
        sys.exit(0)
with open(f"{payload}/begun-{kind}-{index}-{os.getpid()}", "w") as out:
    out.write("yes")
while not stop:
    time.sleep(0.01)
with open(f"{payload}/{kind}-{index}-{os.getpid()}", "w") as out:
    out.write(stop[0])
"""


class Place:
    def __init__(self, folder: Path, children: list[Child]) -> None:
        self.folder = folder
        self.children = children
        self.deaths: list[tuple[str, int]] = []
        self.stop = asyncio.Event()
        self.quick = False
        self.supervisor = Supervisor({"PATH": os.environ["PATH"]}, self._ended)
        self.ended: list[int] = []

    def _ended(self, child: Child, pid: int, unasked: bool) -> None:
        self.ended.append(pid)
        if unasked:
            self.deaths.append((child.name, pid))

    def up(self) -> Generation:
        """The children begin as soon as they are ready."""
        generation = self.supervisor.generation(1, self.children)
        generation.start()
        generation.begin()
        self.supervisor.current[self.children[0].kind] = generation
        return generation

    async def run(self, drain: float) -> None:
        self.up()
        await self.stop.wait()
        how = signal.SIGINT if self.quick else signal.SIGTERM
        await self.supervisor.stop(how, 2.0 if self.quick else drain)

    def started(self, kind: str) -> dict[int, str]:
        """What each process of this kind has written, by process id."""
        written = [path for path in self.folder.glob(f"{kind}-*") if path.stat().st_size]
        return {int(path.name.rsplit("-", 1)[1]): path.read_text() for path in written}


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(place: Place, drain: float = 10.0) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(place.run(drain))
    try:
        yield task
    finally:
        place.stop.set()
        await task
        assert all(child.process is None or child.process.returncode is not None for child in place.children)


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trivial child in the place of ours."""
    script = tmp_path / "child.py"
    script.write_text(PROGRAM)
    real = asyncio.create_subprocess_exec

    async def spawn(*command: str, **options: Any) -> asyncio.subprocess.Process:
        assert command[:4] == (sys.executable, "-O", "-m", "appliance.child")
        return await real(sys.executable, str(script), *command[4:], **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spawn)


async def test_children_get_their_configuration_and_sockets(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        place = Place(tmp_path, [Child("worker", 0, str(tmp_path), {"b": one, "a": two}), Child("admin", 0, str(tmp_path))])
        async with running(place) as task:
            await until(lambda: place.children[1].process is not None and list(place.folder.glob("admin-*")))
            await until(lambda: place.started("worker"))
            assert list(place.started("worker").values()) == ["a,b"]
            place.stop.set()
            await task
            assert list(place.started("worker").values()) == ["term"]
            assert place.deaths == []


async def test_tls_12_a_secret_is_asked_for_at_each_start(tmp_path: Path) -> None:
    told = iter([b"first", b"second"])
    child = Child("short", 0, str(tmp_path), secret=lambda: next(told, b"later"))
    place = Place(tmp_path, [child])
    async with running(place):
        await until(lambda: {"first", "second"} <= set(place.started("short").values()))


async def test_a_child_that_dies_is_started_again_and_the_others_are_left_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sockets = {"in": sock}
        place = Place(tmp_path, [Child("worker", number, str(tmp_path), sockets) for number in range(2)])
        async with running(place):
            await until(lambda: len(place.started("worker")) == 2)
            before = {child.index: child.process.pid for child in place.children if child.process}
            os.kill(before[0], signal.SIGKILL)
            await until(lambda: len(place.started("worker")) == 3)
            after = {child.index: child.process.pid for child in place.children if child.process}
            assert place.deaths == [("worker-0", before[0])]
            assert (after[0] != before[0], after[1] == before[1]) == (True, True)
            assert [child.restarts for child in place.children] == [1, 0]


async def test_a_child_that_cannot_live_is_tried_ever_more_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, *rest: object) -> None:
        if seconds in BACKOFF and seconds != 0.01:
            waited.append(seconds)
        await real(0 if seconds in BACKOFF else seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    place = Place(tmp_path, [Child("short", 0, str(tmp_path))])
    async with running(place):
        await until(lambda: place.children[0].restarts >= len(BACKOFF) + 1)
    assert waited[: len(BACKOFF) + 1] == [*BACKOFF, BACKOFF[-1]]


async def test_one_that_has_lived_begins_again_at_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIVED", 0.0)
    place = Place(tmp_path, [Child("short", 0, str(tmp_path))])
    async with running(place):
        await until(lambda: place.children[0].restarts >= 3)
        assert place.children[0].starts == 1


async def test_sigint_is_passed_on_as_such(tmp_path: Path) -> None:
    place = Place(tmp_path, [Child("worker", 0, str(tmp_path), {})])
    place.quick = True
    async with running(place):
        await until(lambda: list(place.folder.glob("worker-*")))
    assert list(place.started("worker").values()) == ["int"]


async def test_what_does_not_stop_is_killed(tmp_path: Path) -> None:
    place = Place(tmp_path, [Child("deaf", 0, str(tmp_path))])
    async with running(place, drain=0.1):
        await until(lambda: list(place.folder.glob("deaf-*")))
    process = place.children[0].process
    assert process is not None
    assert process.returncode == -signal.SIGKILL


@pytest.mark.security
async def test_the_configuration_is_in_no_argument_and_no_file(tmp_path: Path) -> None:
    place = Place(tmp_path, [Child("worker", 0, str(tmp_path), {})])
    async with running(place):
        await until(lambda: list(place.folder.glob("worker-*")))
        process = place.children[0].process
        assert process is not None
        proc = Path(f"/proc/{process.pid}")
        assert str(tmp_path) not in (proc / "environ").read_text()
        assert not [link for fd in (proc / "fd").iterdir() if "memfd" in (link := os.readlink(fd))]


# -- generations


async def test_c20_a_generation_begins_as_a_whole_and_only_when_it_is_told_to(tmp_path: Path) -> None:
    place = Place(tmp_path, [Child("worker", number, str(tmp_path)) for number in range(2)])
    generation = place.supervisor.generation(2, place.children)
    generation.start()
    await generation.arrive(20.0)
    assert generation.ready
    assert not place.started("begun-worker")
    generation.begin()
    await until(lambda: len(place.started("begun-worker")) == 2)
    await generation.leave(signal.SIGTERM, 10.0)
    assert set(place.started("worker").values()) == {"term"}


async def test_c20_one_that_never_began_leaves_without_a_word(tmp_path: Path) -> None:
    place = Place(tmp_path, [Child("deaf", 0, str(tmp_path))])
    generation = place.supervisor.generation(2, place.children)
    generation.start()
    await generation.arrive(20.0)
    await generation.leave(signal.SIGTERM, 20.0)
    assert not place.started("begun-deaf")
    assert place.deaths == []


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("short", "short-0 ended with status 3"),
        ("other", "Arcus was replaced on disk while it runs; restart it as a whole"),
        ("mute", "not ready within 0.5 s: mute-0"),
    ],
)
async def test_c20_why_a_generation_does_not_come_up(kind: str, why: str, tmp_path: Path) -> None:
    place = Place(tmp_path, [Child(kind, 0, str(tmp_path))])
    generation = place.supervisor.generation(2, place.children)
    generation.start()
    with pytest.raises(NotReady, match=why):
        await generation.arrive(0.5 if kind == "mute" else 20.0)
    await generation.leave(signal.SIGTERM, 5.0)


async def test_c20_one_that_was_killed_while_it_came_up_is_started_again(tmp_path: Path) -> None:
    place = Place(tmp_path, [Child("worker", 0, str(tmp_path))])
    generation = place.supervisor.generation(2, place.children)
    generation.start()
    await until(lambda: list(tmp_path.glob("worker-*")))
    os.kill(int(next(tmp_path.glob("worker-*")).name.rsplit("-", 1)[1]), signal.SIGKILL)
    await until(lambda: len(place.deaths) == 1)
    await generation.arrive(20.0)
    await generation.leave(signal.SIGTERM, 5.0)


async def test_c20_who_is_replaced_is_told_so_and_may_be_hurried(tmp_path: Path) -> None:
    """At most four generations leave at one time; the oldest then gets the short time."""
    place = Place(tmp_path, [Child("worker", 0, str(tmp_path))])
    place.up()
    await until(lambda: place.started("begun-worker"))
    leaving = place.supervisor.retire("worker", 20.0, 10.0)
    assert leaving is not None
    await leaving
    assert list(place.started("worker").values()) == ["hup"]
    assert place.supervisor.retire("worker", 1.0, 1.0) is None
    stubborn = [Place(tmp_path, [Child("deaf", number, str(tmp_path))]) for number in range(MAX_LEAVING + 1)]
    for number, each in enumerate(stubborn):
        generation = place.supervisor.generation(number, each.children)
        generation.start()
        generation.begin()
        await until(lambda wanted=number + 1: len(place.started("begun-deaf")) == wanted)  # type: ignore[misc]
        place.supervisor.current["deaf"] = generation
        place.supervisor.retire("deaf", 60.0, -3.0)
    first = stubborn[0].children[0]
    await until(lambda: not first.alive)
    assert first.process is not None
    assert first.process.returncode == -signal.SIGKILL
    assert all(each.children[0].alive for each in stubborn[1:])
    await place.supervisor.stop(signal.SIGTERM, 0.1)
    assert not any(each.children[0].alive for each in stubborn)
