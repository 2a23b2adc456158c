"""ICP-13, D3: what the scanners said, on the wire and at our own client: reasons, each scanner's part, what was not scanned."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome
from icap.client import IcapService, Message
from icap.protocol.events import Request
from icap.protocol.headers import Headers
from icap.server.findings import threat_name
from icap.server.scanners.panel import Panel, Seat
from icap.server.scanners.scanner import Grounds, ScanOutcome, ScanResult, Subject
from icap.server.scanners.types import TypeRule, TypeScanner
from icap.server.subject import subject_of
from tests.icap.server.scanners.scripted import Scripted
from tests.icap.server.scanners.test_types import PE
from tests.icap.server.serving import respmod, serving

CLEAN = ScanResult(ScanOutcome.CLEAN, engine="ClamAV 1/2", ms=1.5)
REQUEST = b"GET http://origin.test/a/setup.EXE?x=y.png HTTP/1.1\r\nHost: origin.test\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: Image/PNG; q=1\r\n"


async def adapted(scanner: object, body: bytes, method: str = "RESPMOD"):  # type: ignore[no-untyped-def]
    async with serving(scanner) as running:  # type: ignore[arg-type]
        service = IcapService(f"icap://127.0.0.1:{running.port}/{method.lower()}")
        try:
            response = RESPONSE + b"\r\n" if method == "RESPMOD" else None
            return await service.adapt(Message(method, REQUEST, response, body))  # type: ignore[arg-type]
        finally:
            await service.close()


@pytest.mark.parametrize("method", ["REQMOD", "RESPMOD"])
async def test_icp_13_a_refusal_by_type_has_its_own_reason(method: str) -> None:
    scanner = Panel(
        [Seat("av", Scripted(CLEAN)), Seat("types", TypeScanner((TypeRule("no-programs", False, frozenset({"pe"})),)))]
    )
    result = await adapted(scanner, PE, method)
    assert (result.verdict.outcome, result.verdict.reason) == (Outcome.BLOCKED, Reason.FILE_TYPE_BLOCKED)
    assert result.verdict.signature == "no-programs"
    assert [line.split(" ")[:2] for line in result.verdict.scanners] == [["av", "clean"], ["types", "blocked"]]
    assert b"A rule refuses files of this type." in (result.body or b"")


async def test_icp_13_what_was_not_looked_into_is_told() -> None:
    result = await adapted(Scripted(dataclasses.replace(CLEAN, unscanned="encrypted")), b"x")
    assert (result.verdict.outcome, result.verdict.unscanned) == (Outcome.CLEAN, "encrypted")


@pytest.mark.parametrize(("grounds", "by_body"), [(Grounds.BODY, True), (Grounds.CODING, True), (Grounds.HEAD, False)])
async def test_the_service_says_whether_it_judges_by_the_body(grounds: Grounds, by_body: bool) -> None:
    assert (await adapted(Scripted(CLEAN, grounds=grounds), b"x")).verdict.by_body is by_body


@pytest.mark.parametrize("lines", [("Allow: 204",), ()])
async def test_what_has_no_body_is_judged_by_that_whatever_the_scanner_judges_by(lines: tuple[str, ...]) -> None:
    async with serving(Scripted(CLEAN, grounds=Grounds.HEAD)) as running:
        answer = await running.ask(respmod(None, *lines))
        echo = await running.ask(respmod(None, *lines, service="echo"))
    assert answer.headers.first("X-Arcus-Judged") == "body"
    assert echo.headers.first("X-Arcus-Judged") is None


async def test_icp_12_the_parts_of_a_failure_are_told_as_well() -> None:
    failing = Panel([Seat("a", Scripted(CLEAN)), Seat("b", Scripted(RuntimeError("secret path")))])
    async with serving(failing) as running:
        answer = await running.ask(respmod(b"x", "Allow: 204"))
    assert answer.status == 500
    assert [line.split(" ")[1] for line in answer.headers.all("X-Arcus-Scanner-Result")] == ["clean", "error"]
    assert "secret" not in str(answer.headers)


def subject(head: bytes, request: bytes | None = REQUEST, method: str = "RESPMOD") -> Subject:
    if method == "RESPMOD":
        return subject_of(Request("RESPMOD", "icap://x/y", Headers(()), request, head, True))
    return subject_of(Request("REQMOD", "icap://x/y", Headers(()), head, None, True))


def test_what_a_message_says_of_its_body() -> None:
    assert subject(RESPONSE + b"\r\n") == Subject("image/png", "exe")
    disposition = b'Content-Disposition: attachment; filename="in voice.Pdf"\r\n'
    assert subject(RESPONSE + disposition + b"\r\n").extension == "pdf"
    encoded = b"Content-Disposition: attachment; filename*=UTF-8''a%2Escr\r\nContent-Encoding: GZIP\r\n"
    assert subject(RESPONSE + encoded + b"\r\n") == Subject("image/png", "scr", "gzip")
    assert subject(RESPONSE + b"\r\n", b"GET http://o.test/a.exe%20. HTTP/1.1\r\nHost: o.test\r\n\r\n").extension == "exe"
    assert subject(RESPONSE + b"\r\n", None).extension == ""


def test_the_path_of_an_upload_names_its_receiver() -> None:
    post = b"POST http://o.test/upload.php HTTP/1.1\r\nHost: o.test\r\nContent-Type: image/gif\r\n\r\n"
    assert subject(post, method="REQMOD") == Subject("image/gif", "")
    assert subject(post.replace(b"POST", b"PUT").replace(b"php", b"exe"), method="REQMOD").extension == "exe"


@pytest.mark.parametrize("junk", [b"", b"\r\n\r\n", b"\xff" * 40, b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"])
def test_a_head_that_is_none_says_nothing(junk: bytes) -> None:
    """security: and not that the body is plain."""
    assert subject(junk, junk) in (Subject(), Subject(coding="unreadable"))
    assert not junk or subject(junk, junk).coding


@pytest.mark.security
@pytest.mark.parametrize(
    "value",
    [
        b"attachment; filename=a.txt; filename*=UTF-8''a%2eexe",
        b"attachment; filename*=UTF-8''a%2eexe; filename=a.txt",
        b'attachment; x="; filename=a.txt"; FileName = "a.exe"',
        b"attachment; filename*=klingon''a.txt; filename=a.exe",
        b"filename=a.exe",
        b"attachment;filename*=\"utf-8'en'a.exe\"",
        b"attachment; filename=a.exe; filename=a.txt",
    ],
)
def test_the_name_that_counts_is_the_one_that_browsers_take(value: bytes) -> None:
    """security: a rule about extensions must not be shown another name (RFC 6266 section 4.3)."""
    assert subject(RESPONSE + b"Content-Disposition: " + value + b"\r\n\r\n").extension == "exe"


@given(st.text(max_size=300))
def test_a_threats_name_can_stand_in_a_field_whatever_it_is(name: str) -> None:
    found = threat_name(dataclasses.replace(CLEAN, outcome=ScanOutcome.INFECTED, signature=name))
    assert found == "".join(char for char in name if char.isascii() and char.isprintable() and char != ";")[:200]
