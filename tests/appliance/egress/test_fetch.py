"""C11, C18: what a certificate names is fetched within bounds, and never from where it must not come."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import UpstreamError
from appliance.domain.facts import ClientFacts
from appliance.domain.notes import ConnNotes, EscapeNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.egress.escaper import Dialed
from appliance.egress.fetch import MAX_CHUNKS, Fetcher, FetchError, parse_url
from appliance.egress.guard import EgressGuard, OwnListeners

CONN = ConnNotes(ClientFacts("10.0.0.7", 1, "in"))
HERE = [ipaddress.ip_network("127.0.0.0/8")]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Web:
    """A server on the loopback address that sends ``answers``, one per connection; ``seen`` are the requests."""

    def __init__(self, *answers: bytes, resolved: str = "127.0.0.1", addresses: tuple[str, ...] = ("127.0.0.1",)) -> None:
        self.answers, self.seen = list(answers), list[bytes]()
        self.dialled: list[tuple[str, int]] = []
        self.resolved, self.addresses = resolved, addresses
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
        self.seen.append(head + await reader.readexactly(length))
        writer.write(self.answers.pop(0))
        if self.answers == [b"hang"]:
            await reader.read()  # until the client goes
        writer.close()

    async def dial(self, conn: ConnNotes, address: tuple[str, int], protocol: str) -> Dialed:
        self.dialled.append(address)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        return Dialed(reader, writer, EscapeNotes(resolved_ip=self.resolved))

    async def resolve(self, conn: ConnNotes, target: Target) -> tuple[str, ...]:
        return self.addresses

    def fetcher(self, *, open_: bool = True, max_size: int = 1000, timeout: float = 5.0) -> Fetcher:
        guard = EgressGuard(OwnListeners([]), HERE if open_ else [])
        return Fetcher(self.dial, self.resolve, guard, timeout, max_size)


@asynccontextmanager
async def serving(web: Web) -> AsyncIterator[Web]:
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0)
    web.port = server.sockets[0].getsockname()[1]
    async with server:
        yield web


async def fetched(web: Web, url: str = "http://ca.test/i.cer", **options: object) -> bytes:
    async with serving(web):
        return await web.fetcher(**options).fetch(CONN, url)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    ],
    ids=["length", "until the end", "chunked"],
)
async def test_an_answer_is_read_in_each_framing(answer: bytes) -> None:
    web = Web(answer)
    assert await fetched(web, "http://ca.test:8080/a?b=c") == b"hello"
    assert web.dialled == [("ca.test", 8080)]
    assert web.seen[0].startswith(b"GET /a?b=c HTTP/1.1\r\nHost: ca.test:8080\r\nConnection: close\r\n")


async def test_a_question_is_posted() -> None:
    web = Web(OK)
    async with serving(web):
        await web.fetcher().fetch(CONN, "http://ca.test/", b"who?", "application/ocsp-request")
    assert web.seen[0].startswith(b"POST / HTTP/1.1\r\nHost: ca.test\r\n")
    assert web.seen[0].endswith(b"Content-Type: application/ocsp-request\r\nContent-Length: 4\r\n\r\nwho?")


@pytest.mark.security
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest", "http://10.0.0.1/", "http://192.168.1.1/",
        "http://[::ffff:10.0.0.1]/", "http://0.0.0.0/", "http://100.64.0.1/", "http://[fd00::1]/",
    ],
)  # fmt: skip
async def test_no_certificate_leads_to_an_address_of_ours(url: str) -> None:
    web = Web(OK)
    with pytest.raises(FetchError):
        await fetched(web, url, open_=False)
    assert not web.dialled


@pytest.mark.security
async def test_a_name_is_judged_by_all_its_addresses_before_the_connect() -> None:
    web = Web(OK, addresses=("93.184.215.14", "10.0.0.1"))
    with pytest.raises(FetchError):
        await fetched(web, open_=False)
    assert not web.dialled


@pytest.mark.security
async def test_a_name_that_changes_its_mind_gets_no_byte() -> None:
    """DNS rebinding: judged good, connected elsewhere."""
    web = Web(OK, addresses=("93.184.215.14",), resolved="127.0.0.1")
    with pytest.raises(FetchError):
        await fetched(web, open_=False)
    assert not web.seen


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


async def test_a_few_redirects_are_followed() -> None:
    web = Web(redirect("/b"), redirect("http://other.test/c"), OK)
    assert await fetched(web) == b"hello"
    assert [host for host, _ in web.dialled] == ["ca.test", "ca.test", "other.test"]
    with pytest.raises(FetchError, match="redirects"):
        await fetched(Web(*[redirect("/again")] * 3, OK))


@pytest.mark.security
@pytest.mark.parametrize("to", ["https://other.test/", "http://169.254.169.254/", "file:///etc/passwd", "http://a@b/", ""])
async def test_a_redirect_is_judged_like_an_address(to: str) -> None:
    web = Web(redirect(to), OK)
    with pytest.raises(FetchError):
        await fetched(web)
    assert len(web.dialled) == 1


@pytest.mark.parametrize(
    ("answer", "size", "good"),
    [(OK, 5, True), (OK, 4, False), (b"HTTP/1.0 200 OK\r\n\r\nhello", 4, False), (b"HTTP/1.0 200 OK\r\n\r\nhello", 5, True),
     (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n3\r\nlo!\r\n0\r\n\r\n", 5, False)],
)  # fmt: skip
async def test_an_answer_has_a_largest_size(answer: bytes, size: int, good: bool) -> None:
    if good:
        assert await fetched(Web(answer), max_size=size) == b"hello"
    else:
        with pytest.raises(FetchError, match="more than"):
            await fetched(Web(answer), max_size=size)


@pytest.mark.security
async def test_an_answer_in_very_many_pieces_is_given_up() -> None:
    def cut(pieces: int) -> bytes:
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * pieces + b"0\r\n\r\n"

    assert await fetched(Web(cut(MAX_CHUNKS)), max_size=100_000) == b"x" * MAX_CHUNKS
    with pytest.raises(FetchError, match="too many pieces"):
        await fetched(Web(cut(MAX_CHUNKS + 1)), max_size=100_000)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 404 Not Found\r\n\r\n", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"x" * 40_000],
)  # fmt: skip
async def test_anything_else_is_nothing(answer: bytes) -> None:
    with pytest.raises(FetchError):
        await fetched(Web(answer))


async def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with pytest.raises(FetchError, match=r"not within 0\.05 s"):
        await fetched(Web(b"", b"hang"), timeout=0.05)


async def test_a_way_out_that_fails_is_nothing() -> None:
    async def dial(conn: ConnNotes, address: tuple[str, int], protocol: str) -> Dialed:
        raise UpstreamError(Reason.CONNECT_REFUSED)

    async def resolve(conn: ConnNotes, target: Target) -> tuple[str, ...]:
        return ()

    with pytest.raises(FetchError, match="connect_refused"):
        await Fetcher(dial, resolve, EgressGuard(OwnListeners([])), 1.0, 10).fetch(CONN, "http://ca.test/")


@given(st.text(max_size=60) | st.text(max_size=40).map("http://".__add__))
def test_no_text_is_dialled_that_is_not_plain_http(text: str) -> None:
    try:
        target, path = parse_url(text)
    except ValueError:
        return
    assert text.lower().startswith("http://")
    assert target.host
    assert path.startswith("/")
    assert path.isascii()
    assert path.isprintable()


@pytest.mark.parametrize(
    "url", ["https://ca.test/", "ftp://ca.test/", "ldap://ca.test/", "http:///x", "http://u:p@ca.test/", "http://a b/"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_url(url)
