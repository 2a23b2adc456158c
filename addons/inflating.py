"""permessage-deflate (RFC 7692) undone for inspection, one direction of a WebSocket at a time."""

import zlib
from typing import Final

from mitmproxy.http import Headers

from addons.decoding import Undecodable

_TAIL: Final = b"\x00\x00\xff\xff"
"""What a sender leaves out at the end of each message (section 7.2.1)."""
_PIECE: Final = 64 * 1024
_ALWAYS: Final = 1024 * 1024
"""Bytes to which no ratio applies: small texts of blanks are no bombs."""
_FOLLOWED: Final = 16 * 1024 * 1024
"""Bytes of one piece that are unpacked only so that the next message can be."""


class Inflater:
    """Messages may build upon each other: whoever skips one, or meets one that is broken, cannot unpack those after it.

    A sender that starts each message anew (``no_context_takeover``) needs no other treatment: its messages refer to nothing.
    """

    def __init__(self, ratio: int) -> None:
        self._ratio = ratio
        self._inner = zlib.decompressobj(-zlib.MAX_WBITS)
        self._lost = ""

    def feed(self, data: bytes, keep: int, *, follow: bool, end: bool) -> tuple[bytes, int]:
        """The first ``keep`` bytes of what ``data`` unpacks to, and how many it is, as far as that was found out.

        ``follow``: what is beyond ``keep`` goes on, so it is unpacked too. ``end``: the message is over.
        Raises Undecodable: it is no DEFLATE, a bomb, or builds upon what was not unpacked.
        """
        if self._lost:
            raise Undecodable(self._lost)
        kept, size, left = bytearray(), 0, data + _TAIL if end else data
        most = min(max(_ALWAYS, len(data) * self._ratio), _FOLLOWED + keep)
        while left:
            piece = self._step(left)
            kept += piece[: max(0, keep - size)]
            size += len(piece)
            left = self._inner.unconsumed_tail
            if size > keep and not follow:
                self._lost = "it follows a message that was not unpacked"
                break
            if size > most:
                self._lost = f"more than {self._ratio} times its size unpacked"
                raise Undecodable(self._lost)
            self._after_final_block()
        return bytes(kept), size

    def _step(self, data: bytes) -> bytes:
        try:
            return self._inner.decompress(data, _PIECE)
        except zlib.error as error:
            self._lost = "it is not compressed as it says"
            raise Undecodable(self._lost) from error

    def _after_final_block(self) -> None:
        """A message may end with a final block (section 7.2.3.4): then nothing but its padding follows."""
        if self._inner.eof:
            if self._inner.unused_data.strip(b"\x00\xff"):
                self._lost = "bytes after its end"
                raise Undecodable(self._lost)
            self._inner = zlib.decompressobj(-zlib.MAX_WBITS)


def inflatable(headers: Headers) -> bool:
    """Whether what a handshake agreed on is nothing, or permessage-deflate alone."""
    agreed = [each.strip() for value in headers.get_all("sec-websocket-extensions") for each in value.split(",")]
    return len(agreed) <= 1 and all(each.partition(";")[0].strip() == "permessage-deflate" for each in agreed)
