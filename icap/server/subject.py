"""What a message's heads say of its body: type, name, coding."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from icap.protocol.errors import RemoteProtocolError
from icap.protocol.events import Request
from icap.protocol.httphead import HttpHead, parse_head
from icap.server.scanners.scanner import UNKNOWN, Subject

_PARAMETER: Final = re.compile(rb""";\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)""")
_EXTENDED: Final = re.compile(rb"(?i)(?:utf-8|iso-8859-1)'[^']*'(.+)")
_EXTENSION: Final = re.compile(r"\.([A-Za-z0-9_]{1,16})\Z")


def subject_of(request: Request) -> Subject:
    """Of the message that carries the body: the response of a RESPMOD, the request of a REQMOD. A request's path names its
    receiver and not its body, unless it is a PUT."""
    try:
        ask = parse_head(request.request_head) if request.request_head else None
        answer = parse_head(request.response_head) if request.response_head else None
    except RemoteProtocolError:
        return Subject(coding="unreadable")  # whoever goes by the coding has no verdict then
    head = answer or ask
    if head is None:
        return UNKNOWN
    names_body = ask is not None and (answer is not None or ask.start_line.startswith(b"PUT "))
    extension = _named(head) or (_of_path(ask) if ask is not None and names_body else "")
    content_type = _value(head, b"content-type").partition(";")[0].strip().lower()
    return Subject(content_type, extension, _value(head, b"content-encoding").strip().lower())


def _value(head: HttpHead, name: bytes) -> str:
    """All lines of the field, joined."""
    return ", ".join(value.decode("latin-1") for key, value in head.fields if key.lower() == name)


def _named(head: HttpHead) -> str:
    """The extension in Content-Disposition. A name with a character set goes before one without, wherever it stands (RFC 6266
    section 4.3): it is the one that browsers take."""
    names: dict[bytes, bytes] = {}
    for name, value in _PARAMETER.findall(b";" + _value(head, b"content-disposition").encode("latin-1")):
        names.setdefault(name.lower(), value.strip().strip(b'"'))
    extended = _EXTENDED.fullmatch(names.get(b"filename*", b""))
    name = extended[1] if extended else names.get(b"filename") or names.get(b"filename*", b"")
    return _extension(unquote(name.decode("latin-1")))


def _of_path(head: HttpHead) -> str:
    target = head.start_line.split(b" ")[1:2]
    try:
        return _extension(unquote(urlsplit(target[0].decode("latin-1")).path)) if target else ""
    except ValueError:
        return ""


def _extension(name: str) -> str:
    # a trailing dot or space is not seen by Windows: "a.exe. " is run as "a.exe"
    found = _EXTENSION.search(name.rstrip(". "))
    return found[1].lower() if found else ""
