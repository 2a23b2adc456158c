"""206: a service that changes the beginning of messages, and clients that keep the rest of them themselves."""

from collections.abc import AsyncIterator

import pytest

from appliance.domain.verdict import Outcome
from icap.client import IcapService, Message, Tuning
from icap.protocol import HttpHead, Request
from icap.server.adapt import Offer
from icap.server.edit import Edit, EditService
from icap.server.keep import KeepBudget
from icap.server.settings import ServerSettings
from tests.icap.client.messages import told
from tests.icap.server.serving import REQUEST_HEAD, Running, chunked, options, respmod, serving
from tests.icap.server.serving import reqmod as request_of

pytestmark = pytest.mark.integration
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
EDITED = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nX-Edited: 1\r\nVia: ICAP/1.0 arcus\r\n\r\n"
BODY = b"<html>" + b"0123456789" * 20_000


def editor(request: Request, head: HttpHead, beginning: bytes) -> Edit | None:
    if not beginning.startswith(b"<html>"):
        return Edit(_marked(head)) if beginning.startswith(b"head") else None
    return Edit(_marked(head), b"<html><!-- seen -->", 6)


def _marked(head: HttpHead) -> HttpHead:
    return HttpHead(head.start_line, (*head.fields, (b"X-Edited", b"1")))


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    keep = KeepBudget.of(ServerSettings())
    service = EditService(Offer("edit", preview=32), keep, frozenset(("REQMOD", "RESPMOD")), editor)
    async with serving(services={"edit": service}) as found:
        yield found


def whole(body: bytes, *lines: str) -> bytes:
    return respmod(body, *lines, service="edit", head=HEAD % len(body))


async def raw(running: Running, message: bytes) -> bytes:
    return await running.raw(message)


async def test_icap_c28_options_offer_206(running: Running) -> None:
    assert (await running.ask(options("edit"))).headers.tokens("Allow") == {"204", "206"}


async def test_icap_c28_the_direct_answer_to_a_preview_is_206_without_the_rest(running: Running) -> None:
    """ICAP-S05, ICAP-S06: the client's ``Allow: 206`` is for exactly this answer."""
    head = whole(BODY, "Preview: 32", "Allow: 206")
    async with await running.open() as client:
        client.writer.write(head + chunked(BODY[:32]) + b"0\r\n\r\n")
        said = await client.reader.readuntil(b"use-original-body=6\r\n\r\n")
        assert said.startswith(b"ICAP/1.0 206 Partial Content\r\n")
        assert EDITED % (len(BODY) + 13) + b"13\r\n<html><!-- seen -->\r\n0; use-original-body=6\r\n\r\n" in said
        assert (await client.ask(options("edit"))).status == 200  # in step: the client sends no more of that body


@pytest.mark.parametrize("allow", ["Allow: 206", "Allow: 204", "X-Nothing: 1"])
async def test_icap_s06_without_a_preview_206_needs_both_words(running: Running, allow: str) -> None:
    answer = await running.ask(whole(BODY, allow))
    assert (answer.status, answer.body) == (200, b"<html><!-- seen -->" + BODY[6:])
    assert answer.head == EDITED % (len(BODY) + 13)
    said = await raw(running, whole(BODY, "Allow: 204, 206"))
    assert said.startswith(b"ICAP/1.0 206 ")
    assert said.endswith(b"0; use-original-body=6\r\n\r\n")


async def test_only_the_head_is_changed(running: Running) -> None:
    """The body is not touched at all: ``0; use-original-body=0`` and nothing before it."""
    body = b"head only" * 10
    said = await raw(running, whole(body, "Allow: 204, 206"))
    assert said.endswith(b"\r\n\r\n0; use-original-body=0\r\n\r\n")
    answer = await running.ask(whole(body))
    assert (answer.status, answer.body) == (200, body)
    assert b"X-Edited: 1" in answer.head


async def test_what_needs_no_edit_is_204_or_comes_back(running: Running) -> None:
    assert (await running.ask(whole(b"text", "Allow: 204, 206"))).status == 204
    answer = await running.ask(whole(b"text" * 1000))
    assert (answer.status, answer.body) == (200, b"text" * 1000)


async def test_a_request_without_a_body(running: Running) -> None:
    assert (await running.ask(request_of(None, "Allow: 204", service="edit", head=REQUEST_HEAD))).status == 204


@pytest.mark.parametrize("allow_206", [True, False])
@pytest.mark.parametrize("size", [6, 31, 32, 33, 200_000])
async def test_icap_c28_our_client_and_our_server(running: Running, size: int, allow_206: bool) -> None:
    """ICAP-C27, ICAP-C28: the body that arrives is the same, with 206 and without."""
    body = BODY[:size]
    message = Message("RESPMOD", b"GET http://h.test/ HTTP/1.1\r\nHost: h.test\r\n\r\n", HEAD % len(body), body)
    service = IcapService(f"icap://127.0.0.1:{running.port}/edit", tuning=Tuning(allow_206=allow_206))
    for _ in range(3):
        adapted = await service.adapt(message)
        assert told(adapted) == (Outcome.MODIFIED, "ok")
        assert adapted.verdict.icap_status == (206 if allow_206 else 200)
        assert adapted.body == b"<html><!-- seen -->" + body[6:]
    assert service.stats.connects == 1
    await service.close()


async def test_a_body_that_cannot_be_kept_is_refused_not_cut() -> None:
    settings = ServerSettings(keep_body=1000)
    service = EditService(Offer("edit"), KeepBudget.of(settings), frozenset(("RESPMOD",)), editor)
    async with serving(services={"edit": service}) as running:
        assert (await running.ask(whole(BODY[:1000]))).status == 200
        assert (await running.ask(whole(BODY[:1001]))).status == 500
        assert (await raw(running, whole(BODY, "Allow: 204, 206"))).startswith(b"ICAP/1.0 206 ")
