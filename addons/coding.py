"""What is asked for so that a scanner can judge it: codings that it undoes (RFC 9110 section 8.4), and whole bodies.

clamd and c-icap unpack gzip. What is packed with Brotli, Zstandard or zlib is noise to them, and every browser unpacks it: a
virus would pass as clean. So servers are not told that the client takes these, and what comes packed with them nevertheless
is unpacked for the scan (``addons.decoding``).
"""

from mitmproxy.http import Headers

from addons.carry import drop_fields

SCANNABLE = frozenset((b"identity", b"gzip", b"x-gzip"))
_PLAIN = frozenset((b"identity",))
_RANGE = frozenset((b"range", b"if-range"))
_ODD_FLAGS = 0b1110_0010
DISGUISED = "gzip with a header that nobody writes"
UNIT_CODINGS = frozenset((b"identity", b"gzip", b"deflate", b"br", b"zstd"))
_ACCEPT_UNITS = frozenset((b"grpc-accept-encoding", b"connect-accept-encoding"))
_ACCEPT, _CONTENT = b"accept-encoding", b"content-encoding"


def narrow_accepted(headers: Headers) -> None:
    """Take the codings that are not scannable out of Accept-Encoding; a request without the field stays without."""
    fields = headers.fields
    asked = [value for name, value in fields if name.lower() == _ACCEPT]
    if not asked:
        return
    members = [part.strip(b" \t") for value in asked for part in value.split(b",")]
    kept = [part for part in members if _name(part) in SCANNABLE]
    if len(kept) < len(members):
        rest = tuple(item for item in fields if item[0].lower() != _ACCEPT)
        headers.fields = (*rest, (b"Accept-Encoding", b", ".join(kept) or b"identity"))


def narrow_units(headers: Headers) -> None:
    """The same for messages that are packed each by itself (gRPC, Connect): the codings that are undone here are left."""
    headers.fields = tuple(
        (name, _undone_units(value)) if name.lower() in _ACCEPT_UNITS else (name, value) for name, value in headers.fields
    )


def _undone_units(value: bytes) -> bytes:
    members = [part.strip(b" \t") for part in value.split(b",")]
    return b",".join(part for part in members if part.lower() in UNIT_CODINGS) or b"identity"


def ask_for_whole(headers: Headers) -> None:
    """Drop Range and If-Range (RFC 9110 section 14): a server may always answer with the whole, and the pieces of a virus
    are no virus to a scanner that sees one at a time."""
    drop_fields(headers, _RANGE)


def to_undo(headers: Headers, *, gzip: bool = False) -> tuple[str, ...]:
    """The codings of a message, in the order in which they were applied, where scanners do not undo them: any but gzip (that
    too with ``gzip``), and more than one. Empty where they do."""
    names = [
        part.strip(b" \t").lower()
        for name, value in headers.fields
        if name.lower() == _CONTENT
        for part in value.split(b",")
        if part.strip(b" \t")
    ]
    done = _PLAIN if gzip else SCANNABLE
    if len(names) <= 1 and all(name in done for name in names):
        return ()
    return tuple(name[:32].decode("ascii", "backslashreplace") for name in names)


def disguised(headers: Headers, start: bytes) -> bool:
    """Whether a body whose coding is gzip begins (``start``: 4 octets) with a header that browsers skip over, and scanners take
    for no gzip: one with a checksum, which need not be right, or with reserved flags (RFC 1952 section 2.3.1)."""
    odd = len(start) > 3 and start[:3] == b"\x1f\x8b\x08" and start[3] & _ODD_FLAGS
    return bool(odd) and any(name.lower() == _CONTENT for name, _ in headers.fields)


def asks_for_part(headers: Headers) -> bool:
    return any(name.lower() == b"range" for name, _ in headers.fields)


def _name(member: bytes) -> bytes:
    return member.partition(b";")[0].strip(b" \t").lower()
