"""``IcapService`` against scripted peers: bytes on the wire, outcomes, previews."""

from base64 import b64decode
from hashlib import sha256

import pytest

from appliance.domain.verdict import Outcome
from icap.client import IcapService, Identity, Message, Tuning
from tests.icap.client.messages import REQUEST, RESPONSE, download, told, upload
from tests.icap.client.peer import NO_CONTENT, OPTIONS, Script, Talk, scripted

PREVIEW_4 = OPTIONS % b"Preview: 4\r\n"
PAGE = b"HTTP/1.0 403 Forbidden\r\nServer: C-ICAP\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n"
INFECTED = (
    b"X-Infection-Found: Type=0; Resolution=2; Threat=Eicar;\r\nX-Violations-Found: 1\r\n\t-\r\n\tEicar\r\n\t0\r\n\t0\r\n"
)


def modified(head: bytes, body: bytes, extra: bytes = b"", name: bytes = b"res", status: bytes = b"200 OK") -> bytes:
    encapsulated = b"Encapsulated: %b-hdr=0, %b-body=%d\r\n\r\n" % (name, name, len(head))
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return b'ICAP/1.0 %b\r\nISTag: "t1"\r\n%b%b%b%b0\r\n\r\n' % (status, extra, encapsulated, head, chunk)


def answering(answer: bytes) -> Script:
    async def script(talk: Talk) -> None:
        head = await talk.head()
        if b"null-body" not in head:
            await talk.body()
        await talk.say(answer)

    return script


async def ask(answer: bytes, message: Message, **tuning: object) -> object:
    async with scripted(answering(answer)) as peer:
        service = IcapService(peer.uri, tuning=Tuning(**tuning))  # type: ignore[arg-type]
        adapted = await service.adapt(message)
        await service.close()
        return adapted


async def test_icp_08_the_whole_exchange_byte_for_byte() -> None:
    """ICAP-C01, ICAP-C02, ICAP-C03, ICAP-C04, ICAP-C42, ICAP-C43"""
    async with scripted(answering(NO_CONTENT)) as peer:
        service = IcapService(peer.uri + "?mode=a")
        identity = Identity("192.0.2.7", "bob", "acme", "s-1", "2001:db8::1")
        assert told(await service.adapt(download(b"hello", identity))) == (Outcome.CLEAN, "ok")
        await service.close()
    at = b"icap://127.0.0.1:%d/scan?mode=a ICAP/1.0\r\nHost: 127.0.0.1:%d\r\nUser-Agent: Arcus\r\n" % (peer.port, peer.port)
    assert peer.received == (
        b"OPTIONS " + at + b"Allow: 204\r\nEncapsulated: null-body=0\r\n\r\n"
        b"RESPMOD " + at + b"Allow: 204\r\nX-Client-IP: 192.0.2.7\r\nX-Server-IP: 2001:db8::1\r\n"
        b"X-Authenticated-User: TG9jYWw6Ly9ib2I=\r\nX-Subscriber-ID: s-1\r\nX-Tenant-ID: acme\r\nX-Request-ID: 01task\r\n"
        b"Encapsulated: req-hdr=0, res-hdr=%d, res-body=%d\r\n\r\n" % (len(REQUEST), len(REQUEST + RESPONSE))
        + REQUEST + RESPONSE + b"5\r\nhello\r\n0\r\n\r\n"
    )  # fmt: skip
    assert b64decode("TG9jYWw6Ly9ib2I=") == b"Local://bob"


@pytest.mark.parametrize("message", [download(None), download(b""), upload(None)])
async def test_icp_08_no_body_is_null_body_and_no_chunk(message: Message) -> None:
    """ICAP-C07"""
    async with scripted(answering(NO_CONTENT), PREVIEW_4) as peer:
        service = IcapService(peer.uri)
        assert told(await service.adapt(message)) == (Outcome.CLEAN, "ok")
        await service.close()
    sent = peer.received.partition(message.method.encode() + b" ")[2]
    assert b"null-body=" in sent
    assert b"Preview" not in sent
    assert sent.endswith(message.response_head or message.request_head)


async def test_icp_07_nothing_from_an_identity_breaks_a_line() -> None:
    """ICAP-C44"""
    evil = "x\r\nX-Client-IP: 6.6.6.6"
    async with scripted(answering(NO_CONTENT)) as peer:
        service = IcapService(peer.uri)
        for identity in (Identity(evil, evil, evil, evil, evil), Identity("", "a\0b", "t\n", "\x7f", "300.1.1.1")):
            await service.adapt(download(b"x", identity))
        await service.adapt(Message("REQMOD", REQUEST, None, None, Identity(tenant="t" * 513, user="u" * 600), evil))
        await service.close()
    assert b"6.6.6.6" not in peer.received
    for name in (
        b"X-Client-IP",
        b"X-Server-IP",
        b"X-Authenticated-User",
        b"X-Subscriber-ID",
        b"X-Tenant-ID",
        b"X-Request-ID: x",
    ):
        assert name not in peer.received


@pytest.mark.parametrize(
    ("preview", "body", "first", "rest"),
    [
        (0, b"hello", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (1, b"hello", b"1\r\nh\r\n0\r\n\r\n", b"4\r\nello\r\n0\r\n\r\n"),
        (4, b"hello", b"4\r\nhell\r\n0\r\n\r\n", b"1\r\no\r\n0\r\n\r\n"),
        (5, b"hello", b"5\r\nhello\r\n0; ieof\r\n\r\n", b""),
        (6, b"hello", b"5\r\nhello\r\n0; ieof\r\n\r\n", b""),
    ],
)
async def test_icp_10_previews(preview: int, body: bytes, first: bytes, rest: bytes) -> None:
    """ICAP-C23, ICAP-C24"""
    seen: list[bytes] = []

    async def script(talk: Talk) -> None:
        seen.append(await talk.head())
        seen.append(await talk.exactly(len(first)))
        if rest:
            await talk.say(b"ICAP/1.0 100 Continue\r\n\r\n")
            seen.append(await talk.exactly(len(rest)))
        await talk.say(NO_CONTENT)

    async with scripted(script, OPTIONS % (b"Preview: %d\r\n" % preview)) as peer:
        service = IcapService(peer.uri)
        assert told(await service.adapt(download(body))) == (Outcome.CLEAN, "ok")
        await service.close()
    assert b"Preview: %d\r\n" % min(preview, len(body)) in seen[0]
    assert seen[1:] == [first, rest][: len(seen) - 1]
    assert peer.received.endswith(rest or first)


async def test_icp_04_204_inside_the_preview_sends_no_more() -> None:
    """ICAP-C24"""

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.exactly(len(b"4\r\nhell\r\n0\r\n\r\n"))
        await talk.say(NO_CONTENT)

    async with scripted(script, PREVIEW_4) as peer:
        service = IcapService(peer.uri)
        for _ in range(3):
            assert told(await service.adapt(download(b"hello" * 1000))) == (Outcome.CLEAN, "ok")
        await service.close()
    assert len(peer.talks) == 1
    assert b"hello" not in peer.received


async def test_icp_03_a_modified_response_is_repaired() -> None:
    """ICAP-C33"""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nX-New: 1\r\n\r\n"
    adapted = await ask(modified(head, b"abc"), download())
    assert told(adapted) == (Outcome.MODIFIED, "ok")
    assert adapted.kind == "response"
    assert adapted.head == b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nX-New: 1\r\n\r\n"
    assert adapted.body == b"abc"


async def test_icp_03_a_modified_request() -> None:
    """ICAP-C31"""
    head = b"POST http://h.test/up HTTP/1.1\r\nHost: h.test\r\nContent-Length: 3\r\nX-New: caf\xe9\r\n\r\n"
    adapted = await ask(modified(head, b"abc", name=b"req"), upload())
    assert told(adapted) == (Outcome.MODIFIED, "ok")
    assert (adapted.kind, adapted.head, adapted.body) == ("request", head, b"abc")


@pytest.mark.parametrize("via", [b"", b"Via: ICAP/1.0 h (C-ICAP)\r\n", b"Content-Length: 5\r\n"])
async def test_icp_04_the_original_in_a_200_is_unmodified(via: bytes) -> None:
    adapted = await ask(modified(RESPONSE[:-2] + via + b"\r\n", b"hello"), download())
    assert told(adapted) == (Outcome.CLEAN, "ok")
    assert (adapted.kind, adapted.head, adapted.body) == ("unmodified", None, None)


async def test_icp_13_a_block_page_with_its_verdict() -> None:
    """ICAP-C09, ICAP-C33, ICAP-C41"""
    adapted = await ask(modified(PAGE, b"<html>\0\0", INFECTED + b"X-Arcus-Scanner: ClamAV 1.4/7\r\n"), download())
    verdict = adapted.verdict
    assert told(adapted) == (Outcome.BLOCKED, "malware_found")
    assert (verdict.signature, verdict.icap_status, verdict.istag) == ("Eicar", 200, "t1")
    assert (verdict.engine, verdict.size) == ("ClamAV 1.4/7", 5)
    assert verdict.sha256 == sha256(b"hello").hexdigest()
    assert verdict.ms >= 0  # uvloop's clock counts whole milliseconds
    assert dict(verdict.headers)["X-Violations-Found"] == "1 - Eicar 0 0"
    assert adapted.kind == "response"
    assert adapted.head == (b"HTTP/1.1 403 Forbidden\r\nServer: C-ICAP\r\nContent-Type: text/html\r\nContent-Length: 8\r\n\r\n")


@pytest.mark.parametrize(("extra", "reason"), [(INFECTED, "malware_found"), (b"", "icap_blocked")])
async def test_icp_01_request_satisfaction_is_a_block(extra: bytes, reason: str) -> None:
    """ICAP-C30"""
    adapted = await ask(modified(PAGE, b"page", extra), upload())
    assert told(adapted) == (Outcome.BLOCKED, reason)
    assert (adapted.kind, adapted.body) == ("response", b"page")


async def test_icp_05_a_large_body_that_the_server_echoes_while_it_reads() -> None:
    """ICAP-C29"""
    body = b"0123456789abcdef" * (512 * 1024)

    async def script(talk: Talk) -> None:
        await talk.head()
        head = b"HTTP/1.1 200 OK\r\nX-Echo: 1\r\n\r\n"
        await talk.say(b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=%d\r\n\r\n" % len(head) + head)
        left = len(body)
        while left:
            line = await talk.reader.readuntil(b"\r\n")
            size = int(line, 16)
            left -= size
            while size:
                data = await talk.reader.read(min(size, 65536))
                size -= len(data)
                await talk.say(b"%x\r\n%b\r\n" % (len(data), data))
            await talk.reader.readexactly(2)
        await talk.reader.readexactly(5)
        await talk.say(b"0\r\n\r\n")

    async with scripted(script) as peer:
        service = IcapService(peer.uri)
        adapted = await service.adapt(download(body))
        again = await service.adapt(download(body))
        await service.close()
    assert told(adapted) == told(again) == (Outcome.MODIFIED, "ok")
    assert adapted.body == body
    assert adapted.verdict.sha256 == sha256(body).hexdigest()
    assert len(peer.talks) == 1


async def test_206_continues_with_the_original() -> None:
    """ICAP-C28"""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
    wire = modified(head, b"abc", status=b"206 Partial Content").replace(b"\r\n0\r\n", b"\r\n0; use-original-body=2\r\n")
    options = OPTIONS.replace(b"204", b"204, 206") % b""
    async with scripted(answering(wire), options) as peer:
        service = IcapService(peer.uri, tuning=Tuning(allow_206=True))
        adapted = await service.adapt(download())
        await service.close()
        strict = IcapService(peer.uri)
        refused = await strict.adapt(download())
        await strict.close()
    assert (told(adapted), adapted.body) == ((Outcome.MODIFIED, "ok"), b"abcllo")
    assert told(refused) == (Outcome.ERROR, "icap_protocol_error")
    assert b"Allow: 204, 206" in peer.received


@pytest.mark.parametrize(
    ("headers", "names"), [(b"Transfer-Ignore: exe\r\n", "ignore"), (b"Transfer-Complete: exe\r\nPreview: 1\r\n", "complete")]
)
async def test_icp_09_transfer_lists(headers: bytes, names: str) -> None:
    """ICAP-C16"""
    async with scripted(answering(NO_CONTENT), OPTIONS % headers) as peer:
        careful, trusting = IcapService(peer.uri), IcapService(peer.uri, tuning=Tuning(honour_transfer_ignore=True))
        outcomes = [(await service.adapt(download())).verdict.outcome for service in (careful, trusting)]
        await careful.close()
        await trusting.close()
    assert outcomes == [Outcome.CLEAN, Outcome.SKIPPED if names == "ignore" else Outcome.CLEAN]
    assert b"Preview" not in peer.received


async def test_check_needs_a_block_and_a_pass() -> None:
    """ICAP-C22"""

    async def scanner(talk: Talk) -> None:
        await talk.head()
        body = await talk.body()
        infected = b"EICAR-STANDARD" in body
        await talk.say(modified(PAGE, b"x", INFECTED) if infected else NO_CONTENT)

    async with scripted(scanner) as peer, scripted(answering(NO_CONTENT)) as blind:
        healthy, sick = IcapService(peer.uri), IcapService(blind.uri)
        assert (await healthy.check()).ok
        health = await sick.check()
        assert (health.ok, health.detail.partition(":")[0]) == (False, "the infected test message came back clean")
        await healthy.close()
        await sick.close()


@pytest.mark.parametrize(
    "uri", ["http://h/x", "icap://", "icap://h:0/x", "icap://h/x y", "icap://u@h/x", "icap://h/x#f", "icap://h\r\n/x"]
)
def test_uris_that_are_none(uri: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        IcapService(uri)


@pytest.mark.parametrize(
    ("uri", "host", "sent"),
    [
        ("icap://h/s", "h:1344", "icap://h:1344/s"),
        ("icap://h:99/s?a=b", "h:99", "icap://h:99/s?a=b"),
        ("icap://[2001:db8::1]/s", "[2001:db8::1]:1344", "icap://[2001:db8::1]:1344/s"),
        ("icap://h", "h:1344", "icap://h:1344/"),
    ],
)
def test_icp_08_host_carries_the_port(uri: str, host: str, sent: str) -> None:
    """ICAP-C01"""
    service = IcapService(uri)
    assert (service.address.authority, service.address.uri) == (host, sent)
