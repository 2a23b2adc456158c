"""Whatever comes in: an end in bounded time, and no verdict on a body that is not whole."""

import asyncio
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icap.server.settings import ServerSettings
from tests.icap.server.serving import WholeBodyScanner, chunked, options, reqmod, respmod, serving

pytestmark = pytest.mark.integration

QUICK = ServerSettings(tick=0.02, header_timeout=0.1, body_timeout=0.1, idle_timeout=0.1, linger_timeout=0.1)
HEAD = respmod(b"", "Allow: 204").removesuffix(b"0\r\n\r\n")
PREVIEW = respmod(b"", "Preview: 8", "Allow: 204")
NEXT = options("echo")
VERDICT = re.compile(rb"ICAP/1\.0 20[046] ")

fuzz = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
words = st.sampled_from(
    [
        b"ICAP/1.0",
        b"\r\n",
        b"\r\n\r\n",
        b"OPTIONS ",
        b"RESPMOD icap://h/respmod ICAP/1.0\r\n",
        b"Host: h\r\n",
        b"Preview: 0\r\n",
        b"Encapsulated: ",
        b"res-hdr=0, ",
        b"res-body=0",
        b"null-body=0",
        b"Allow: 204\r\n",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"; ieof",
        b"ffffffff\r\n",
        b"-1\r\n",
        b"\0",
        b"\xff",
    ]
)
noise = st.lists(st.one_of(words, st.binary(max_size=20)), max_size=30).map(b"".join)
body = st.binary(max_size=200)


@given(data=noise, half=st.booleans())
@fuzz
def test_icp_12_random_bytes_never_hang_the_server(data: bytes, half: bool) -> None:
    async def play() -> None:
        scanner = WholeBodyScanner()
        async with serving(scanner, QUICK) as running:
            said = await running.raw(data, end=half)
            assert (await running.ask(options())).status == 200
        assert len(VERDICT.findall(said)) <= data.count(b"ICAP/1.0")

    asyncio.run(play())


@given(content=body, cut=st.integers(1, 10_000), size=st.integers(1, 64), preview=st.booleans())
@fuzz
def test_icp_12_a_body_cut_anywhere_gets_no_verdict(content: bytes, cut: int, size: int, preview: bool) -> None:
    whole = HEAD + chunked(content, size) + b"0\r\n\r\n"
    if preview:
        whole = PREVIEW + chunked(content[:8]) + b"0\r\n\r\n" + chunked(content[8:], size) + b"0\r\n\r\n"
    part = whole[: len(whole) - 1 - cut % (len(whole) - 1)]

    async def play() -> bytes:
        async with serving(settings=QUICK) as running:
            return await running.raw(part)

    said = asyncio.run(play())
    assert not VERDICT.search(said)


@given(content=body, junk=st.binary(min_size=1, max_size=10), at=st.integers(0, 10_000))
@fuzz
def test_icp_12_junk_in_the_framing_is_no_verdict_on_another_body(content: bytes, junk: bytes, at: int) -> None:
    """Bytes put anywhere into the chunks: a verdict then is on exactly the bytes that a strict reader finds there."""
    framed = chunked(content, 16) + b"0\r\n\r\n"
    at %= len(framed)
    framed = framed[:at] + junk + framed[at:]
    scanner = WholeBodyScanner()

    async def play() -> bytes:
        async with serving(scanner, QUICK) as running:
            return await running.raw(HEAD + framed)

    said = asyncio.run(play())
    if VERDICT.search(said):  # being stricter than the second opinion is no fault
        assert scanner.seen[0] == _strict(framed)


def _strict(framed: bytes) -> bytes | None:
    """A second opinion on chunked framing; None for broken or incomplete."""
    content, at = b"", 0
    size_line = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
    while match := size_line.match(framed, at):
        size, at = int(match[1], 16), match.end()
        if not size:
            trailer = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*\r\n)*\r\n").match(framed, at)
            return content if trailer else None
        content, at = content + framed[at : at + size], at + size + 2
        if framed[at - 2 : at] != b"\r\n":
            return None
    return None


@given(bodies=st.lists(st.one_of(st.none(), body), min_size=1, max_size=6), cuts=st.lists(st.integers(1, 500), max_size=10))
@fuzz
def test_icp_12_any_sequence_in_any_pieces_is_answered_in_order(bodies: list[bytes | None], cuts: list[int]) -> None:
    scanner = WholeBodyScanner(needle=b"\x01\x02")
    messages = [
        respmod(content, "Allow: 204") if at % 2 else reqmod(content, "Allow: 204") for at, content in enumerate(bodies)
    ]
    wire = b"".join(messages)

    async def play() -> list[int]:
        async with serving(scanner) as running, await running.open() as client:
            at = 0
            for cut in (*cuts, len(wire)):
                client.writer.write(wire[at : at + cut])
                at += cut
                await asyncio.sleep(0)
            return [(await client.answer()).status for _ in messages]

    assert asyncio.run(play()) == [200 if content and b"\x01\x02" in content else 204 for content in bodies]
    assert scanner.seen == [content for content in bodies if content is not None]
