"""Content codings that scanners do not undo."""

import pytest
from mitmproxy.http import Headers

from addons.coding import narrow_accepted, to_undo


@pytest.mark.security
@pytest.mark.parametrize(
    ("asked", "forwarded"),
    [
        (["gzip, deflate, br, zstd"], "gzip"),
        (["br;q=1.0", "gzip;q=0.5, identity"], "gzip;q=0.5, identity"),
        (["br"], "identity"),
        (["GZIP"], "GZIP"),
        (["*"], "identity"),
    ],
)
def test_servers_are_asked_only_for_what_can_be_read(asked: list[str], forwarded: str) -> None:
    headers = Headers([(b"accept-encoding", value.encode()) for value in asked] + [(b"x", b"1")])
    narrow_accepted(headers)
    assert headers.get_all("accept-encoding") == [forwarded]
    assert headers["x"] == "1"


def test_a_request_without_the_field_stays_without() -> None:
    headers = Headers([(b"x", b"1")])
    narrow_accepted(headers)
    assert headers.fields == ((b"x", b"1"),)


@pytest.mark.security
@pytest.mark.parametrize(
    ("coding", "found"),
    [
        ("gzip", ()),
        ("identity", ()),
        ("X-GZIP", ()),
        ("br", ("br",)),
        ("gzip, Zstd", ("gzip", "zstd")),
        ("gzip, gzip", ("gzip", "gzip")),
        (" , gzip ,", ()),
        ("deflate", ("deflate",)),
    ],
)
def test_what_scanners_do_not_undo_is_named_in_order(coding: str, found: tuple[str, ...]) -> None:
    assert to_undo(Headers([(b"Content-Encoding", coding.encode())])) == found
