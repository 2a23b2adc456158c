"""ICP-12: handler classes written for pyicap, unchanged, on our server."""

import os
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icap.server.pyicap_handler import BaseICAPRequestHandler
from icap.server.pyicap_host import PyicapHost
from icap.server.settings import ServerSettings
from tests.icap.server.pyicap_examples import EchoHandler
from tests.icap.server.serving import REQUEST_HEAD, RESPONSE_HEAD, Ledger, Running, chunked, options, reqmod, respmod, serving

pytestmark = pytest.mark.integration


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    host = PyicapHost(EchoHandler, threads=4)
    async with serving(services=host.services()) as server:
        yield server
    host.close()


def named(word: str) -> bytes:
    return REQUEST_HEAD.replace(b"/file", b"/" + word.encode())


def test_the_example_is_a_pyicap_class() -> None:
    import pyicap

    assert issubclass(EchoHandler, pyicap.BaseICAPRequestHandler)
    assert set(PyicapHost(EchoHandler).services()) == {"echo", "keep", "block"}


async def test_icp_12_pyicap_options(running: Running) -> None:
    answer = await running.ask(options("echo"))
    assert answer.status == 200
    assert answer.headers.first("Methods") == "RESPMOD"
    assert answer.headers.first("Options-TTL") == "3600"
    assert answer.headers.first("ISTag") == (await running.ask(options("echo"))).headers.first("ISTag")


@pytest.mark.parametrize("size", [0, 10, 1_000_000])
async def test_icp_12_pyicap_copies_a_body(running: Running, size: int) -> None:
    body = os.urandom(size)
    async with await running.open() as client:
        for _ in range(2):
            answer = await client.ask(respmod(body, service="echo"))
            assert (answer.status, answer.body) == (200, body)
            assert answer.head.startswith(b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\n")


async def test_icp_12_pyicap_preview(running: Running) -> None:
    async with await running.open() as client:
        client.writer.write(respmod(b"", "Preview: 4", service="echo") + b"4\r\nabcd\r\n0\r\n\r\n")
        await client.proceeds()
        assert (await client.ask(b"3\r\nefg\r\n0\r\n\r\n")).body == b"abcdefg"
        client.writer.write(respmod(b"", "Preview: 4", service="echo") + b"2\r\nab\r\n0; ieof\r\n\r\n")
        assert (await client.answer()).body == b"ab"
        assert (await client.ask(respmod(None, service="echo"))).body is None


async def test_icp_12_pyicap_no_adaptation_gives_back_requests_too(running: Running) -> None:
    async with await running.open() as client:
        assert (await client.ask(respmod(b"abc", "Allow: 204", service="keep"))).status == 204
        answer = await client.ask(reqmod(b"abc", service="keep"))
        assert (answer.status, answer.body) == (200, b"abc")
        assert answer.head == REQUEST_HEAD[:-2] + b"Via: ICAP/1.0 arcus\r\n\r\n"
        answer = await client.ask(respmod(b"abc", service="keep"))
        assert (answer.status, answer.body) == (200, b"abc")
        assert answer.head == RESPONSE_HEAD[:-2] + b"Via: ICAP/1.0 arcus\r\n\r\n"
        client.writer.write(respmod(b"", "Preview: 2", service="keep") + b"2\r\nab\r\n0\r\n\r\n")
        assert (await client.answer()).status == 204
        assert (await client.ask(options("keep"))).status == 200


async def test_icp_12_pyicap_errors(running: Running) -> None:
    answer = await running.ask(reqmod(None, service="block", head=named("blocked")))
    assert answer.head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert answer.body == b"<p>no</p>"
    for word, status in (("missing", 404), ("crash", 500), ("silent", 500), ("inject", 500)):
        assert (await running.ask(reqmod(None, service="block", head=named(word)))).status == status
    assert (await running.ask(respmod(None, service="block"))).status == 405
    rewritten = await running.ask(reqmod(None, service="block", head=named("rewrite")))
    assert rewritten.head == b"GET http://other.test/ HTTP/1.1\r\nhost: origin.test\r\n\r\n"


async def test_icp_12_pyicap_an_answer_without_its_end_is_not_made_whole(running: Running) -> None:
    said = await running.raw(reqmod(None, service="block", head=named("unfinished")))
    assert b"\r\n0\r\n\r\n" not in said


async def test_icp_12_pyicap_a_careless_handler_gives_no_verdict_on_half_a_body(running: Running) -> None:
    whole = reqmod(b"", "Allow: 204", service="block", head=named("swallow")).removesuffix(b"0\r\n\r\n")
    assert await running.raw(whole + chunked(b"abc") + b"5\r\nde") == b""
    said = await running.raw(whole + chunked(b"abc") + b"-5\r\n")
    assert b" 204 " not in said
    assert b" 204 " in await running.raw(whole + chunked(b"abc") + b"0\r\n\r\n")


async def test_a_handler_may_do_without_pyicap() -> None:
    class Own(BaseICAPRequestHandler):
        def own_OPTIONS(self) -> None:
            self.set_icap_response(200)
            self.set_icap_header(b"Methods", b"RESPMOD")
            self.send_headers(False)

        def own_RESPMOD(self) -> None:
            self.no_adaptation_required()

    host = PyicapHost(Own)
    async with serving(services=host.services()) as running:
        assert (await running.ask(respmod(b"x", "Allow: 204", service="own"))).status == 204
    host.close()


async def test_a_body_over_the_bound_for_keeping_is_an_error() -> None:
    from icap.server.keep import KeepBudget

    host = PyicapHost(EchoHandler, keep=KeepBudget.of(ServerSettings(keep_body=10)))
    async with serving(services=host.services()) as running:
        assert (await running.ask(respmod(bytes(10), service="keep"))).status == 200
        assert (await running.ask(respmod(bytes(11), service="keep"))).status == 500
    host.close()


async def test_icp_12_the_example_of_the_documentation_works() -> None:
    page = (Path(__file__).parents[3] / "docs" / "pyicap.md").read_text()
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    listening = {}
    original = socket.create_server

    def create_server(address: tuple[str, int]) -> socket.socket:
        listening["socket"] = original(address)
        return listening["socket"]

    names["socket"] = SimpleNamespace(create_server=create_server)
    host, server = await names["serve"](names["WordFilter"], ("127.0.0.1", 0))
    running = Running(server, listening["socket"].getsockname()[1], Ledger())
    async with await running.open() as client:
        assert (await client.ask(options("words"))).headers.first("Preview") == "0"
        for body, status in ((b"a forbidden word", 200), (b"fine", 204)):
            client.writer.write(reqmod(b"", "Preview: 0", "Allow: 204", service="words") + b"0\r\n\r\n")
            await client.proceeds()
            answer = await client.ask(chunked(body) + b"0\r\n\r\n")
            assert answer.status == status
            assert (b"may not leave" in (answer.body or b"")) == (status == 200)
    await server.stop()
    host.close()
