"""Bodies packed with what scanners do not undo and browsers do (Brotli, Zstandard, zlib)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.http import Headers

from addons.coding import SCANNABLE, ask_for_whole, narrow_accepted, to_undo


def headers(*fields: tuple[bytes, bytes]) -> Headers:
    made = Headers()
    made.fields = fields
    return made


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"br", ("br",)), (b"gzip", ()), (b"X-GZIP", ()), (b"identity", ()), (b"zstd", ("zstd",)), (b"deflate", ("deflate",)),
        (b"gzip, br", ("gzip", "br")), (b" BR ", ("br",)), (b"gzip,,", ()), (b"", ()), (b"aws-chunked", ("aws-chunked",)),
    ],
)  # fmt: skip
def test_codings_that_scanners_do_not_undo_are_found(value: bytes, found: tuple[str, ...]) -> None:
    assert to_undo(headers((b"cOntent-encoding", value))) == found


def test_a_second_field_hides_nothing() -> None:
    assert to_undo(headers((b"Content-Encoding", b"gzip"), (b"Content-Encoding", b"br"))) == ("gzip", "br")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"gzip, deflate, br, zstd", b"gzip"), (b"br", b"identity"), (b"*", b"identity"), (b"identity", b"identity"),
        (b"gzip;q=0.5, br;q=1", b"gzip;q=0.5"), (b"GZIP", b"GZIP"), (b"", b"identity"),
    ],
)  # fmt: skip
def test_servers_are_not_told_of_them(before: bytes, after: bytes) -> None:
    message = headers((b"Host", b"a"), (b"accept-encoding", before))
    narrow_accepted(message)
    assert message["accept-encoding"].encode() == after


def test_a_request_that_names_no_coding_stays_as_it_is() -> None:
    message = headers((b"Host", b"a"))
    narrow_accepted(message)
    assert message.fields == ((b"Host", b"a"),)


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_whatever_is_asked_for_only_scannable_codings_are_left(values: list[bytes]) -> None:
    message = headers(*((b"Accept-Encoding", value) for value in values))
    narrow_accepted(message)
    left = [part for name, value in message.fields for part in value.split(b",")]
    names = {part.partition(b";")[0].strip(b" \t").lower() for part in left}
    assert names <= SCANNABLE | ({b""} if not values else set())


def test_a_range_is_asked_for_whole() -> None:
    """EICAR in two pieces is clean twice; the whole is what is scanned."""
    asked = headers((b"Host", b"a"), (b"Range", b"bytes=0-33"), (b"if-range", b'"x"'), (b"Accept", b"*/*"))
    ask_for_whole(asked)
    assert asked.fields == ((b"Host", b"a"), (b"Accept", b"*/*"))
