"""A slow, obvious second opinion on ICAP: whole texts, a regular expression a rule, no states. It shares no code with ours."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from icap.protocol import Limits
from icap.protocol.events import Data, EndOfMessage, Request

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*((?:;.*)?)", re.DOTALL)
EXTENSION = re.compile(
    rf';[ \t]*({TOKEN})(?:[ \t]*=[ \t]*({TOKEN}|"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e])*"))?[ \t]*'.encode()
)


@dataclass(frozen=True)
class Message:
    """A whole request."""

    method: str
    uri: str
    fields: tuple[tuple[str, str], ...]
    heads: tuple[bytes | None, bytes | None]
    body: bytes | None


@dataclass(frozen=True)
class Chunked:
    """A whole chunked body, and where it ends."""

    body: bytes
    end: int
    ieof: bool
    offset: int | None


def fields(block: str, limits: Limits) -> list[tuple[str, str]] | None:
    """None when it is refused."""
    if not block:
        return []
    lines = block.split("\r\n")
    found: list[tuple[str, str]] = []
    if len(lines) > limits.header_count or any(len(line) > limits.header_line for line in lines):
        return None
    for line in lines:
        if set(line) & set("\r\n\0"):
            return None
        if line[:1] in (" ", "\t"):
            if not found:
                return None
            name, value = found.pop()
            found.append((name, (value + line[0] + line.strip(" \t")).strip(" \t")))
        elif match := re.fullmatch(rf"({TOKEN}):(.*)", line, re.DOTALL):
            found.append((match[1], match[2].strip(" \t")))
        else:
            return None
    return found


def chunked(data: bytes, limits: Limits, before: int = 0) -> Chunked | bool:
    """The body at the beginning of ``data``; True when it is not there whole, False when it is refused."""
    body, at, extensions = b"", 0, 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return len(data) - at < limits.chunk_line
        line, at = data[at:end], end + 2
        match = SIZE.fullmatch(line)
        if len(line) + 2 > limits.chunk_line or match is None:
            return False
        size, extensions = int(match[1], 16), extensions + len(match[2])
        named = [found.groups() for found in EXTENSION.finditer(match[2])]
        if EXTENSION.sub(b"", match[2]) or extensions > limits.extension_bytes or before + len(body) + size > limits.body_bytes:
            return False
        if not size:
            return _last(data, at, body, named, limits)
        if len(data) < at + size + 2:
            return True
        if data[at + size : at + size + 2] != b"\r\n":
            return False
        body, at = body + data[at : at + size], at + size + 2


def _last(data: bytes, at: int, body: bytes, named: list[tuple[bytes, bytes | None]], limits: Limits) -> Chunked | bool:
    offsets = [value for name, value in named if name.lower() == b"use-original-body"]
    if len(offsets) > 1 or any(value is None or not re.fullmatch(rb"[0-9]{1,15}", value) for value in offsets):
        return False
    ieof = any(name.lower() == b"ieof" for name, _ in named)
    offset = int(offsets[0] or b"0") if offsets else None
    if data[at : at + 2] == b"\r\n":
        return Chunked(body, at + 2, ieof, offset)
    if data[at:] == b"\r":
        return True
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return len(data) - at < limits.trailer_bytes
    block = data[at:end]
    if len(block) + 4 > limits.trailer_bytes or fields(block.decode("latin-1"), limits) is None:
        return False
    return Chunked(body, end + 4, ieof, offset)


LISTS = {
    "REQMOD": ("req-hdr,req-body", "req-hdr,null-body", "req-body", "null-body"),
    "RESPMOD": tuple(
        f"{request}{response}" for request in ("", "req-hdr,")
        for response in ("res-hdr,res-body", "res-hdr,null-body", "res-body", "null-body")
    ),
    "OPTIONS": ("opt-body", "null-body"),
}  # fmt: skip


def requests(data: bytes, limits: Limits) -> tuple[list[Message], bool]:
    """All whole requests in ``data``, every preview followed by its rest; False when the place after them is refused."""
    found: list[Message] = []
    while data:
        for _ in range(limits.blank_lines):
            data = data.removeprefix(b"\r\n")
        if data.startswith(b"\r\n"):
            return found, False
        one = _request(data, limits)
        if isinstance(one, bool):
            return found, one
        message, end, close = one
        found.append(message)
        if close:
            return found, True
        data = data[end:]
    return found, True


def _request(data: bytes, limits: Limits) -> tuple[Message, int, bool] | bool:
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return len(data) < limits.header_bytes
    start, _, block = data[:end].decode("latin-1").partition("\r\n")
    named = fields(block, limits)
    line = re.fullmatch(rf"({TOKEN}) ([!-~]+) ICAP/1\.0", start)
    if end + 4 > limits.header_bytes or len(start) > limits.start_line or named is None or line is None or line[1] not in LISTS:
        return False
    sections = _sections(named, line[1])
    preview = [value for name, value in named if name.lower() == "preview"]
    if sections is None or len(preview) > 1 or not all(re.fullmatch("[0-9]{1,9}", value) for value in preview):
        return False
    if any(size > limits.section_bytes for _, size in sections[0]):
        return False
    heads, at = {}, end + 4
    if len(data) < at + sum(size for _, size in sections[0]):
        return True
    for name, size in sections[0]:
        heads[name] = data[at : at + size]
        if size <= 4 or heads[name].find(b"\r\n\r\n") != size - 4:
            return False
        at += size
    body: bytes | None = None
    if sections[1]:
        whole = _body(data[at:], int(preview[0]) if preview else None, limits)
        if isinstance(whole, bool):
            return whole
        body, at = whole[0], at + whole[1]
    close = any(
        "close" in [word.strip().lower() for word in value.split(",")] for name, value in named if name.lower() == "connection"
    )
    return Message(line[1], line[2], tuple(named), (heads.get("req-hdr"), heads.get("res-hdr")), body), at, close


def _body(data: bytes, preview: int | None, limits: Limits) -> tuple[bytes, int] | bool:
    """Body and length, the part after the preview with it."""
    first = chunked(data, limits)
    if preview is not None and _sent(data, limits) > preview:
        return False
    if isinstance(first, bool):
        return first
    if preview is None or first.ieof:
        return first.body, first.end
    rest = chunked(data[first.end :], limits, len(first.body))
    return rest if isinstance(rest, bool) else (first.body + rest.body, first.end + rest.end)


def _sent(data: bytes, limits: Limits) -> int:
    """Bytes of a body that are there, whole or not, up to where it is refused."""
    sent = at = 0
    while (end := data.find(b"\r\n", at)) >= 0 and (match := SIZE.fullmatch(data[at:end])) is not None:
        size = int(match[1], 16)
        if not size or chunked(data[: end + 2], limits) is False:
            break
        sent, at = sent + len(data[end + 2 : end + 2 + size]), end + 2 + size + 2
        if data[at - 2 : at] != b"\r\n":
            break
    return sent


def _sections(named: list[tuple[str, str]], method: str) -> tuple[list[tuple[str, int]], bool] | None:
    values = [value for name, value in named if name.lower() == "encapsulated"]
    if not values and method == "OPTIONS":
        return [], False
    if len(values) != 1:
        return None
    entries = [re.fullmatch(r"[ \t]*([a-z]+-[a-z]+)=([0-9]{1,10})[ \t]*", entry) for entry in values[0].split(",")]
    if any(entry is None for entry in entries):
        return None
    pairs = [(entry[1], int(entry[2])) for entry in entries if entry is not None]
    if ",".join(name for name, _ in pairs) not in LISTS[method] or pairs[0][1] != 0:
        return None
    if any(later[1] <= earlier[1] for earlier, later in itertools.pairwise(pairs)):
        return None
    sizes = [(name, later[1] - offset) for (name, offset), later in itertools.pairwise(pairs)]
    return sizes, pairs[-1][0] != "null-body"


def assemble(events: list[object]) -> Iterator[Message]:
    """Our events as whole messages; what is not whole is left out."""
    request: Request | None = None
    body = b""
    for event in events:
        if isinstance(event, Request):
            request, body = event, b""
        elif isinstance(event, Data):
            body += event.data
        whole = request is not None and (not request.body or isinstance(event, EndOfMessage))
        if whole and request is not None:
            heads = (request.request_head, request.response_head)
            yield Message(request.method, request.uri, request.headers.fields, heads, body if request.body else None)
            request = None
