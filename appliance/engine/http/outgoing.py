"""Writing HTTP/1: the head with framing made anew, and the body exactly as the head announced it."""

from appliance.engine.http.faults import BadMessage, Fault
from appliance.engine.http.framing import NO_BODY, BodyKind, Framing, parse_length
from appliance.engine.http.grammar import FIELD_BLOCK, Field

LAST_CHUNK = b"0\r\n\r\n"


class BodyWriter:
    """Encodes a body as its head announced it. A body that turns out otherwise must end the connection."""

    __slots__ = ("_left", "kind")

    def __init__(self, framing: Framing) -> None:
        self.kind, self._left = framing

    def data(self, data: bytes) -> bytes:
        """Raises BadMessage when more comes than was announced. A body that must not be sent is dropped."""
        kind = self.kind
        if kind is BodyKind.NONE or not data:
            return b""
        if kind is BodyKind.CHUNKED:
            return b"%x\r\n%b\r\n" % (len(data), data)
        if kind is BodyKind.FIXED:
            self._left -= len(data)
            if self._left < 0:
                raise BadMessage(Fault.AMBIGUOUS, "the body is longer than announced")
        return data

    def end(self, trailers: tuple[Field, ...] = ()) -> bytes:
        """What closes the body. Raises BadMessage when octets are missing."""
        if self.kind is BodyKind.FIXED and self._left:
            raise BadMessage(Fault.AMBIGUOUS, "the body is shorter than announced")
        if self.kind is not BodyKind.CHUNKED:
            return b""
        return b"0\r\n%b\r\n" % field_lines(trailers) if trailers else LAST_CHUNK


def field_lines(fields: list[Field] | tuple[Field, ...]) -> bytes:
    """The field lines with their CRLF.

    Raises:
        BadMessage: an addon or a scanner wrote a name or value that would not be read back as what it is.
    """
    block = b"".join([b"%b: %b\r\n" % item for item in fields])
    # A CRLF smuggled into a value would still look like a block; the count of lines gives it away.
    if FIELD_BLOCK.fullmatch(block) is None or block.count(b"\n") != len(fields):
        raise BadMessage(Fault.GRAMMAR, "a field that cannot be written")
    return block


def values_of(fields: tuple[Field, ...], wanted: bytes) -> list[bytes]:
    """The values of one field; ``wanted`` is in lower case."""
    return [value for name, value in fields if name.lower() == wanted]


def split_fields(fields: tuple[Field, ...], dropped: frozenset[bytes]) -> tuple[list[Field], dict[bytes, list[bytes]]]:
    """In one pass, what is written as it stands, and the values of what is made anew or left out."""
    kept: list[Field] = []
    removed: dict[bytes, list[bytes]] = {}
    for item in fields:
        name = item[0].lower()
        if name in dropped:
            removed.setdefault(name, []).append(item[1])
        else:
            kept.append(item)
    return kept, removed


def announced(removed: dict[bytes, list[bytes]]) -> int | None:
    """The one Content-Length among the removed fields. Raises BadMessage when it is no plain number."""
    lengths = removed.get(b"content-length", ())
    return parse_length(lengths[0]) if len(lengths) == 1 else None


def fixed(length: int) -> Framing:
    return (BodyKind.FIXED, length) if length else NO_BODY


def framing_fields(framing: Framing, announce_zero: bool) -> list[Field]:
    """Exactly one framing field, or none for a body that has none (``announce_zero``: Content-Length: 0 instead)."""
    kind, length = framing
    if kind is BodyKind.CHUNKED:
        return [(b"Transfer-Encoding", b"chunked")]
    if kind is BodyKind.FIXED:
        return [(b"Content-Length", b"%d" % length)]
    return [(b"Content-Length", b"0")] if kind is BodyKind.NONE and announce_zero else []
