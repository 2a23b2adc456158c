"""Reading of what both roles share: the ICAP head, then the encapsulated header sections."""

from icap.protocol.buffer import ReceiveBuffer
from icap.protocol.encapsulated import Encapsulated, is_section
from icap.protocol.errors import LimitExceeded, RemoteProtocolError
from icap.protocol.headers import Headers, parse_fields
from icap.protocol.limits import Limits

_END = b"\r\n\r\n"


def read_head(buffer: ReceiveBuffer, limits: Limits) -> tuple[str, Headers] | None:
    """Start line and fields, or None when they are not complete.

    Raises:
        RemoteProtocolError: malformed, or above a limit.
    """
    block = buffer.take_through(_END, limits.header_bytes, "header_bytes")
    if block is None:
        return None
    start, _, fields = block[:-4].decode("latin-1").partition("\r\n")
    if len(start) > limits.start_line:
        raise LimitExceeded("start_line", limits.start_line)
    return start, parse_fields(fields, limits)


def skip_blank_lines(buffer: ReceiveBuffer, allowed: int) -> int:
    """Drop empty lines before a start line; how many are still allowed.

    Raises:
        LimitExceeded: there are more.
    """
    while buffer.starts_with(b"\r\n"):
        if not allowed:
            raise LimitExceeded("blank_lines", 0)
        buffer.take(2)
        allowed -= 1
    return allowed


def check_section_sizes(encapsulated: Encapsulated, limits: Limits) -> None:
    """Refuse an announced section above the limit before any of it is buffered."""
    if any(size > limits.section_bytes for _, size in encapsulated.heads):
        raise LimitExceeded("section_bytes", limits.section_bytes)


def read_sections(buffer: ReceiveBuffer, encapsulated: Encapsulated) -> dict[str, bytes] | None:
    """The header sections by name, each exactly as long as its offsets say; None when they are not complete.

    Raises:
        RemoteProtocolError: a section does not end in its one and only empty line. Parsers that search for the
            empty line and parsers that count would then see different messages.
    """
    if len(buffer) < encapsulated.head_bytes:
        return None
    sections = {name: buffer.take(size) for name, size in encapsulated.heads}
    for name, section in sections.items():
        if not is_section(section):
            raise RemoteProtocolError(f"{name} is not one header section of {len(section)} bytes")
    return sections
