"""WebSocket frames (RFC 6455 section 5.2): found and checked in a stream, never held or unpacked."""

_CLOSE = 8
_DATA = (1, 2)
_CONTROL = (8, 9, 10)
_MAX_CONTROL = 125
_FIN, _RSV1, _RSV23, _MASK = 0x80, 0x40, 0x30, 0x80


class BadFrame(Exception):
    """The bytes are no WebSocket. The text says why and quotes nothing of them."""


class FrameReader:
    """Reads one direction. ``masked``: the sender is a client, which must mask; ``extended``: an extension was agreed on.

    Only the header of a frame is kept. The size of a message costs nothing here and a compressed one stays compressed: a
    message without an end, or one that unpacks to a gigabyte, would otherwise be paid for by the whole worker.
    """

    def __init__(self, *, masked: bool, extended: bool) -> None:
        self._masked = masked
        self._reserved = _RSV23 if extended else _RSV1 | _RSV23
        self._head = bytearray()
        self._left = 0
        self._in_message = False
        self._closed = False

    def feed(self, data: bytes) -> int:
        """Check what arrived; how many messages end with a frame that began in it.

        Raises:
            BadFrame: it is no frame, or not one that may come now.
        """
        messages, pos, size = 0, 0, len(data)
        while pos < size:
            step = min(self._left, size - pos)
            self._left -= step
            pos += step
            if not self._left and pos < size:
                missing = self._missing()
                self._head += data[pos : pos + missing]
                pos += min(missing, size - pos)
                if not self._missing():
                    messages += self._begin()
        return messages

    def _missing(self) -> int:
        """Octets of the header that are still to come: 2, then a longer length, then the mask."""
        head = self._head
        if len(head) < 2:
            return 2 - len(head)
        length = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
        return 2 + length + (4 if head[1] & _MASK else 0) - len(head)

    def _begin(self) -> bool:
        """The header is complete. Whether its frame is the last of a message."""
        first, second = self._head[0], self._head[1]
        short = second & 0x7F
        self._left = short if short < 126 else int.from_bytes(self._head[2 : 4 if short == 126 else 10])
        self._head.clear()
        self._check(first, second)
        opcode, final = first & 0x0F, bool(first & _FIN)
        if opcode in _CONTROL:
            self._closed = opcode == _CLOSE
            return False
        self._in_message = not final
        return final

    def _check(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if self._closed:
            raise BadFrame("a frame after the close frame")
        if first & self._reserved:
            raise BadFrame("a reserved bit is set")
        if bool(second & _MASK) is not self._masked:
            raise BadFrame("masked by the wrong side")
        if opcode in _CONTROL:
            if not first & _FIN or self._left > _MAX_CONTROL:
                raise BadFrame("a control frame that is long or in pieces")
        elif opcode not in _DATA and opcode:
            raise BadFrame("an unknown opcode")
        elif bool(opcode) is self._in_message:
            raise BadFrame("a continuation that continues nothing, or a message inside of another")
        if self._left >= 1 << 63:
            raise BadFrame("a length beyond 63 bits")
