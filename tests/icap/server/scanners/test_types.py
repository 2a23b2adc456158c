"""ICP-13: rules by true type: what the bytes are, however they are cut, called or packed."""

import gzip
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.file_types import WORDS
from appliance.domain.reason import Reason
from icap.server.scanners import containers, magic
from icap.server.scanners.scanner import Grounds, ScanOutcome, Subject
from icap.server.scanners.types import TypeRule, TypeScanner
from icap.server.scanners.unpacked import Unpacked
from tests.icap.server.scanners.scripted import cut, pieces

PE = b"MZ" + bytes(58) + (128).to_bytes(4, "little") + bytes(64) + b"PE\0\0" + bytes(100)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000)


def zipped(*names: str, filler: int = 0) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 10)
            if filler:
                archive.writestr("filler.bin", bytes(filler))
                filler = 0
    return out.getvalue()


def wide(text: str) -> bytes:
    return text.encode("utf-16-le")


SAMPLES = {
    "empty": b"",
    "pe": PE,
    "dos": b"MZ" + bytes(200),
    "elf": b"\x7fELF\x02\x01\x01",
    "java-class": b"\xca\xfe\xba\xbe\0\0\0\x34",
    "macho": b"\xca\xfe\xba\xbe\0\0\0\x02",
    "png": PNG,
    "pdf": b"junk\n%PDF-1.7\n",
    "gzip": gzip.compress(b"x"),
    "tar": bytes(257) + b"ustar\x0000" + bytes(200),
    "iso": bytes(0x8001) + b"CD001" + bytes(100),
    "webp": b"RIFF\0\0\0\0WEBPVP8 ",
    "mp4": b"\0\0\0\x18ftypisom",
    "avif": b"\0\0\0\x18ftypavif",
    "bzip2": b"BZh91AY&SY",
    "bmp": b"BM\0\0\0\0\0\0\0\0",
    "shebang": b"#!/bin/sh\n",
    "batch": b"@echo off\r\ndel *",
    "html": b" \n<!-- a -->\n<!DOCTYPE html><html>",
    "hta": b"<html><head><HTA:APPLICATION id=x></head>",
    "svg": b'<?xml version="1.0"?><svg xmlns="x">',
    "xml": b'<?xml version="1.0"?><feed>',
    "text": "grüße, {}".encode(),
    "unknown": b"\x00\x01\x02 data",
    "zip": zipped("a.txt"),
    "ooxml": zipped("[Content_Types].xml", "word/document.xml"),
    "jar": zipped("META-INF/MANIFEST.MF", "A.class"),
    "apk": zipped("AndroidManifest.xml", "classes.dex"),
    "doc": OLE + wide("WordDocument"),
    "msi": OLE + bytes.fromhex("84100c0000000000c000000000000046"),
    "ole": OLE,
    "rtf": b"{\\rtf1",
    "lnk": b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F",
}


def rule(action: str = "block", **conditions: object) -> TypeRule:
    given_ = {key: frozenset(value) if isinstance(value, list | tuple) else value for key, value in conditions.items()}
    return TypeRule("rule", action == "allow", **given_)  # type: ignore[arg-type]


def test_the_words_of_the_configuration_are_those_of_the_tables() -> None:
    assert magic.names() | containers.NAMES == WORDS


@pytest.mark.parametrize("name", SAMPLES)
async def test_icp_13_each_type_is_told_by_its_bytes(name: str) -> None:
    scanner = TypeScanner((rule(types=[name]),))
    result = await scanner.scan(pieces(SAMPLES[name]))
    assert (result.outcome, result.reason) == (ScanOutcome.BLOCKED, Reason.FILE_TYPE_BLOCKED)
    assert result.detail == f"true type {name}"
    assert result.signature == "rule"


@given(st.sampled_from(sorted(SAMPLES)), st.lists(st.integers(1, 400), max_size=30))
async def test_however_a_body_is_cut_it_is_of_the_same_type(name: str, sizes: list[int]) -> None:
    result = await TypeScanner((rule(types=["pe"]),)).scan(cut(SAMPLES[name], sizes))
    assert result.detail == f"true type {name}"


@given(st.binary(max_size=600))
def test_any_bytes_have_a_type(head: bytes) -> None:
    assert magic.true_type(head).name in WORDS


@given(st.binary(max_size=4000), st.lists(st.integers(1, 500), max_size=10), st.sampled_from([magic.ZIP, magic.OLE]))
def test_any_bytes_can_be_looked_into(body: bytes, sizes: list[int], kind: magic.TrueType) -> None:
    inside = containers.Container(kind)
    for size in sizes:
        inside.feed(body[:size])
    assert inside.kind.name in WORDS


@pytest.mark.parametrize(
    "body",
    [
        zipped("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"),
        zipped("[Content_Types].xml", "xl/workbook.xml", "xl/vbaProject.bin", filler=300_000),
        zipped("mimetype", "Basic/Standard/script-lb.xml"),
        OLE + wide("WordDocument") + bytes(100_000) + wide("_VBA_PROJECT"),
    ],
)
async def test_icp_13_macros_are_seen_wherever_they_lie(body: bytes) -> None:
    scanner = TypeScanner((rule(types=["macros"]),))
    for size in (1000, 65_536, len(body)):
        assert (await scanner.scan(cut(body, [size] * (len(body) // size)))).outcome is ScanOutcome.BLOCKED
    assert (await scanner.scan(pieces(SAMPLES["ooxml"]))).outcome is ScanOutcome.CLEAN


async def test_the_first_rule_that_holds_decides() -> None:
    scanner = TypeScanner((rule("allow", extensions=["exe"]), rule(types=["executable"])))
    assert (await scanner.scan(pieces(PE), Subject(extension="exe"))).outcome is ScanOutcome.CLEAN
    assert (await scanner.scan(pieces(PE), Subject(extension="txt"))).outcome is ScanOutcome.BLOCKED
    assert (await scanner.scan(pieces(PNG))).outcome is ScanOutcome.CLEAN


@pytest.mark.parametrize(
    ("subject", "body", "outcome"),
    [
        (Subject("image/png", "png"), PE, ScanOutcome.BLOCKED),
        (Subject("application/octet-stream", "jpg"), PE, ScanOutcome.BLOCKED),
        (Subject("image/png", "png"), PNG, ScanOutcome.CLEAN),
        (Subject("text/html"), b"plain words", ScanOutcome.CLEAN),
        (Subject("application/zip", "zip"), SAMPLES["ooxml"], ScanOutcome.CLEAN),
        (Subject("application/x-anything", "zzz"), PE, ScanOutcome.CLEAN),
        (Subject("image/png"), b"\x00\x01\x02", ScanOutcome.CLEAN),
        (Subject("image/svg+xml", "svg"), SAMPLES["svg"], ScanOutcome.CLEAN),
    ],
)
async def test_icp_13_what_calls_itself_something_else(subject: Subject, body: bytes, outcome: ScanOutcome) -> None:
    assert (await TypeScanner((rule(mismatch=True),)).scan(pieces(body), subject)).outcome is outcome


async def test_declared_types_by_name_and_kind() -> None:
    scanner = TypeScanner((rule(content_types=["video/*", "application/pdf"]),))
    for declared, blocked in (("video/mp4", True), ("application/pdf", True), ("text/plain", False), ("", False)):
        result = await scanner.scan(pieces(b"x"), Subject(declared))
        assert (result.outcome is ScanOutcome.BLOCKED) is blocked


@pytest.mark.parametrize("members", [1, 3])
async def test_icp_13_gzip_as_a_coding_is_looked_through(members: int) -> None:
    part = len(PE) // members + 1
    body = b"".join(gzip.compress(PE[at : at + part]) for at in range(0, len(PE), part))
    scanner = Unpacked(TypeScanner((rule(types=["pe"]),)), "types")
    assert (await scanner.scan(cut(body, [7] * 20), Subject(coding="gzip"))).outcome is ScanOutcome.BLOCKED
    assert (await scanner.scan(pieces(body))).detail == "true type gzip"


@pytest.mark.parametrize(("coding", "body"), [("br", b"x"), ("gzip, gzip", b"x"), ("gzip", b"not gzip")])
async def test_icp_12_what_cannot_be_unpacked_has_no_type_and_is_not_clean(coding: str, body: bytes) -> None:
    scanner = Unpacked(TypeScanner((rule(types=["pe"]),)), "types")
    result = await scanner.scan(pieces(body), Subject(coding=coding))
    assert (result.outcome, result.reason) == (ScanOutcome.ERROR, Reason.NOT_SCANNABLE)


def test_grounds_and_fingerprint_follow_the_rules() -> None:
    assert TypeScanner((rule(types=["pe"]),)).grounds is Grounds.BODY
    for head in (rule(mismatch=True), rule(extensions=["exe"]), rule(content_types=["a/b"])):
        assert TypeScanner((rule(types=["pe"]), head)).grounds is Grounds.HEAD
    assert TypeScanner((rule(types=["pe"]),)).fingerprint != TypeScanner((rule(types=["elf"]),)).fingerprint
    assert TypeScanner((rule(types=["pe", "elf"]),)).fingerprint == TypeScanner((rule(types=["elf", "pe"]),)).fingerprint
