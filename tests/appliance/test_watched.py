"""What a process knows of a file that another one replaces."""

import asyncio
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.app.ready_clients import _parse as parse_ready
from appliance.domain.exclusion import from_snapshot
from appliance.files import write_whole
from appliance.watched import SMALL, Watched
from certs.withdrawn import _Serials

LIMIT = SMALL * 2


def number(data: bytes) -> int:
    return int(data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "number"


def test_it_follows_the_file_and_reads_it_once(path: Path) -> None:
    taken: list[int] = []
    watched = Watched(path, number, 0, LIMIT, taken.append)
    watched.refresh()
    assert (watched.value, taken) == (0, []), "there is none, as it was"
    write_whole(path, b"1")
    for _ in range(3):
        watched.refresh()
    assert (watched.value, taken) == (1, [1])
    path.unlink()
    watched.refresh()
    assert (watched.value, taken, watched.trouble) == (0, [1, 0], "")


def test_what_it_said_last_holds_and_trouble_is_told_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(path, number, 0, LIMIT)
    write_whole(path, b"7")
    watched.refresh()
    write_whole(path, b"x")
    for _ in range(3):
        watched.refresh()
    assert watched.value == 7
    assert str(path) in watched.trouble
    assert len(caplog.records) == 1
    write_whole(path, b"8")
    watched.refresh()
    assert (watched.value, watched.trouble) == (8, "")


def test_what_cannot_be_opened_is_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk may be well again, although the file is the same."""
    watched = Watched(path, number, 0, LIMIT)
    write_whole(path, b"7")

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", broken)
        watched.refresh()
    assert (watched.value, "Input/output error" in watched.trouble) == (0, True)
    watched.refresh()
    assert (watched.value, watched.trouble) == (7, "")
    path.unlink()
    path.mkdir()
    watched.refresh()
    assert (watched.value, watched.trouble != "") == (7, True)


@pytest.mark.parametrize(("size", "good"), [(LIMIT, True), (LIMIT + 1, False)])
def test_a_file_at_its_limit_is_read_and_a_larger_one_is_not(path: Path, size: int, good: bool) -> None:
    watched = Watched(path, len, 0, LIMIT)
    write_whole(path, b"x" * size)
    watched.refresh()
    assert watched.value == (LIMIT if good else 0)
    assert (watched.trouble == "") is good


@pytest.mark.parametrize(("size", "elsewhere"), [(SMALL, False), (SMALL + 1, True)])
async def test_a_large_file_is_parsed_beside_the_loop(path: Path, size: int, elsewhere: bool) -> None:
    threads: list[int] = []

    def parse(data: bytes) -> int:
        threads.append(threading.get_ident())
        return len(data)

    watched = Watched(path, parse, 0, LIMIT)
    write_whole(path, b"x" * size)
    watched.look()
    async with asyncio.timeout(20):
        while watched.value != size:
            await asyncio.sleep(0.001)
            watched.look()
    assert [thread != threading.get_ident() for thread in threads] == [elsewhere]


async def test_a_fault_of_ours_in_the_thread_is_heard_of(path: Path) -> None:
    def broken(_: bytes) -> int:
        raise RuntimeError("ours")

    watched = Watched(path, broken, 0, LIMIT)
    write_whole(path, b"x" * (SMALL + 1))

    async def until_heard() -> None:
        async with asyncio.timeout(20):
            while True:
                watched.look()
                await asyncio.sleep(0.001)

    with pytest.raises(RuntimeError, match="ours"):
        await until_heard()


@given(st.binary(max_size=300))
def test_no_file_breaks_a_parser_of_ours(data: bytes) -> None:
    for text in (data, b'{"format":1,"exclusions":[' + data + b"]}", b'{"revoked":[' + data + b"]}", b"[" * 3000 + data):
        for parse in (from_snapshot, parse_ready, _Serials.parse):
            try:
                parse(text)
            except ValueError:
                continue


def test_a_file_that_was_replaced_in_the_same_moment_is_another_file(path: Path) -> None:
    watched = Watched(path, number, 0, LIMIT)
    for value in (b"1", b"2"):
        write_whole(path, value, modified=1_000_000_000.0)
        watched.refresh()
        assert watched.value == number(value)
        assert os.stat(path).st_mtime == 1_000_000_000.0
