"""The control socket with real connections: who may ask, and what silence and noise get (C20, CTL-01)."""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance import local_socket
from appliance.control import client
from appliance.control import server as module
from appliance.control.protocol import MAX_REQUEST, SOCKET, Request, write_request
from appliance.control.server import MAX_CONNECTIONS, ControlServer

asked: list[tuple[str, int]] = []


async def answer(request: Request, user: int) -> dict[str, Any]:
    if request.config == "/fails":
        raise RuntimeError("secret")
    return {"command": request.command, "user": user}


@contextlib.asynccontextmanager
async def serving(directory: Path, deadline: float = 5.0) -> AsyncIterator[None]:
    task = asyncio.create_task(ControlServer(local_socket.bind(directory, SOCKET), answer, deadline=deadline).run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(directory: Path, request: bytes) -> dict[str, Any]:
    return await asyncio.to_thread(client.ask, directory, request, 10.0)


async def test_ctl_01_the_owner_is_answered_and_known(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 120)  # longer than the path of a socket may be
    directory.mkdir()
    async with serving(directory):
        assert stat.S_IMODE((directory / SOCKET).stat().st_mode) == 0o600
        assert await ask(directory, write_request("status")) == {"version": 1, "command": "status", "user": os.geteuid()}


@pytest.mark.security
async def test_ctl_01_another_user_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "peer_user", lambda sock: 4711)
    async with serving(tmp_path):
        assert await ask(tmp_path, write_request("reload")) == {
            "version": 1,
            "error": "only root and the user that Arcus runs as may ask",
        }


async def test_ctl_01_noise_silence_and_failures(tmp_path: Path) -> None:
    async with serving(tmp_path, deadline=0.2):
        assert "not a request" in (await ask(tmp_path, b"what?\n"))["error"]
        assert "at most" in (await ask(tmp_path, b"x" * (MAX_REQUEST + 10) + b"\n"))["error"]
        assert (await ask(tmp_path, b'{"version": 1'))["error"] == "no request within 0.2 s"
        assert (await ask(tmp_path, write_request("reload", "/fails")))["error"] == "it failed; the log says why"
        assert "command" in await ask(tmp_path, write_request("status"))


async def test_ctl_01_a_request_without_an_end(tmp_path: Path) -> None:
    async with serving(tmp_path):
        with local_socket.connect(tmp_path, SOCKET) as line:
            line.sendall(b"{}")
            line.shutdown(socket.SHUT_WR)
            line.settimeout(10)
            assert b"no line feed" in await asyncio.to_thread(line.recv, 1000)


async def test_ctl_01_no_more_than_sixteen_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path):
        with contextlib.ExitStack() as stack:
            for _ in range(MAX_CONNECTIONS):
                stack.enter_context(local_socket.connect(tmp_path, SOCKET))
            assert "more than 16 at once" in (await ask(tmp_path, write_request("status")))["error"]
        await asyncio.sleep(0.05)
        assert "command" in await ask(tmp_path, write_request("status"))


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await ask(tmp_path, write_request("status"))
