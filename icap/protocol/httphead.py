"""HTTP/1 header blocks as ICAP carries them: hop-by-hop fields out, framing undone (RFC 3507 section 4.4.2)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from icap.protocol.errors import RemoteProtocolError

type RawField = tuple[bytes, bytes]

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BREAK: Final = re.compile(rb"[\r\n\0]")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [\t -~\x80-\xff]*)?")
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~\x80-\xff]+) HTTP/1\.[01]")
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")

_HOP_BY_HOP: Final = frozenset((b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"))
# A sender may not declare these hop-by-hop: without them the scanner would judge another message than the receiver.
_END_TO_END: Final = frozenset(
    (b"host", b"content-length", b"content-type", b"content-encoding", b"content-disposition", b"content-range")
)


@dataclass(frozen=True, slots=True)
class HttpHead:
    """Start line and fields of one HTTP/1 message, in order, names as written."""

    start_line: bytes
    fields: tuple[RawField, ...]

    def __bytes__(self) -> bytes:
        return b"%b\r\n%b\r\n" % (self.start_line, b"".join(b"%b: %b\r\n" % field for field in self.fields))

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]

    @property
    def is_response(self) -> bool:
        return self.start_line.startswith(b"HTTP/")

    @property
    def status(self) -> int:
        """The status code of a response, 0 for a request."""
        match = _STATUS_LINE.fullmatch(self.start_line)
        return int(match[1]) if match else 0

    @property
    def method(self) -> bytes:
        """The method of a request, empty for a response."""
        return b"" if self.is_response else self.start_line.partition(b" ")[0]

    @property
    def content_length(self) -> int | None:
        """The announced length.

        Raises:
            RemoteProtocolError: not a number, or several that differ.
        """
        values = {value.strip() for field in self.all(b"content-length") for value in field.split(b",")}
        if not values:
            return None
        value = values.pop()
        if values or not _DIGITS.fullmatch(value):
            raise RemoteProtocolError("Content-Length of an encapsulated message is not one number")
        return int(value)

    @property
    def forbids_body(self) -> bool:
        """A response that never has a body, whatever Content-Length says (RFC 9110 section 6.4.1)."""
        return self.is_response and (self.status < 200 or self.status in (204, 304))


def parse_head(block: bytes, max_fields: int = 1000) -> HttpHead:
    """Parse a block that ends in CRLF CRLF; folded lines are joined by one space.

    Raises:
        RemoteProtocolError: not an HTTP/1 head, a line that is no field, a lone line break, a NUL.
    """
    if not block.endswith(b"\r\n\r\n"):
        raise RemoteProtocolError("an encapsulated head without its empty line")
    start_line, *lines = block[:-4].split(b"\r\n")
    if not (_STATUS_LINE.fullmatch(start_line) or _REQUEST_LINE.fullmatch(start_line)):
        raise RemoteProtocolError(f"not an HTTP/1 start line: {start_line[:80]!r}")
    if len(lines) > max_fields:
        raise RemoteProtocolError(f"more than {max_fields} encapsulated header fields")
    fields: list[RawField] = []
    for line in lines:
        _add_line(fields, line)
    return HttpHead(start_line, tuple(fields))


def _add_line(fields: list[RawField], line: bytes) -> None:
    if _BREAK.search(line):
        raise RemoteProtocolError("line break or NUL inside an encapsulated header line")
    if line[:1] in (b" ", b"\t") and fields:
        name, value = fields[-1]
        fields[-1] = (name, (b"%b %b" % (value, line.strip(b" \t"))).strip())
        return
    name, colon, value = line.partition(b":")
    if not colon or not _TOKEN.fullmatch(name):
        raise RemoteProtocolError(f"not an encapsulated header field: {line[:80]!r}")
    fields.append((name, value.strip(b" \t")))


def end_to_end(fields: Iterable[RawField]) -> tuple[RawField, ...]:
    """The fields that are about the message: Connection and all it names, Proxy-* and framing left out."""
    keyed = [(item[0].lower(), item) for item in fields]
    named = {token.strip().lower() for key, item in keyed if key == b"connection" for token in item[1].split(b",")}
    dropped = (named - _END_TO_END) | _HOP_BY_HOP
    return tuple([item for key, item in keyed if key not in dropped and not key.startswith(b"proxy-")])


def encapsulate(head: HttpHead, body_length: int | None) -> bytes:
    """The head as it goes to a service: end-to-end fields only, no transfer coding.

    Content-Length stays when it is the body's length; with a ``Transfer-Encoding`` it never does (RFC 9112 section 6.3:
    the coding wins, so the length may say anything). ``body_length`` None: there is no body here, keep what is said.
    """
    fields = end_to_end(head.fields)
    if body_length is not None and (head.all(b"transfer-encoding") or head.content_length != body_length):
        fields = tuple(field for field in fields if field[0].lower() != b"content-length")
    return bytes(HttpHead(head.start_line, fields))


def repair(head: HttpHead, body_length: int, *, has_body: bool = True) -> HttpHead:
    """An adapted head made fit to be sent by us: HTTP/1.1, end-to-end fields, the Content-Length of the body at hand.

    ``has_body`` False: the answer to HEAD, 204 or 304, whose Content-Length speaks of another message and stays.
    """
    fields = end_to_end(head.fields)
    if has_body and not head.forbids_body:
        place = next((at for at, (name, _) in enumerate(fields) if name.lower() == b"content-length"), len(fields))
        rest = [field for field in fields if field[0].lower() != b"content-length"]
        rest.insert(place, (b"Content-Length", b"%d" % body_length))
        fields = tuple(rest)
    start_line = head.start_line
    if head.is_response:
        start_line = b"HTTP/1.1" + start_line[8:]
    elif start_line.endswith(b"HTTP/1.0"):
        start_line = start_line[:-8] + b"HTTP/1.1"
    return HttpHead(start_line, fields)
