"""What services say of themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icap.protocol import Headers, ServiceOptions, Transfer
from icap.protocol.options import extension_of

C_ICAP = Headers.of(
    ("Methods", "RESPMOD, REQMOD"),
    ("Service", "C-ICAP/0.5.10 server - Antivirus service"),
    ("ISTag", "CI0001-L5CkDhq+qWNs"),
    ("Transfer-Preview", "*"),
    ("Options-TTL", "3600"),
    ("Preview", "1024"),
    ("Allow", "204, 206, trailers"),
    ("X-Include", "X-Client-IP, X-Server-IP"),
)


def test_icp_09_every_field_is_read() -> None:
    """ICAP-C15, ICAP-C18, ICAP-C20"""
    options = ServiceOptions.parse(C_ICAP)
    assert options.methods == {"REQMOD", "RESPMOD"}
    assert (options.ttl, options.preview, options.max_connections) == (3600, 1024, None)
    assert (options.istag, options.allow) == ("CI0001-L5CkDhq+qWNs", {"204", "206", "trailers"})
    assert options.include == {"x-client-ip", "x-server-ip"}


@pytest.mark.parametrize("junk", ["-1", "abc", "", "1.5", "99999999999", "1 2"])
def test_icp_09_numbers_that_are_none_are_absent(junk: str) -> None:
    """ICAP-C13, ICAP-C15"""
    headers = Headers.of(("Methods", "REQMOD"), ("Preview", junk), ("Options-TTL", junk), ("Max-Connections", junk))
    options = ServiceOptions.parse(headers)
    assert (options.preview, options.ttl, options.max_connections) == (None, None, None)


def test_preview_0_is_a_preview() -> None:
    """ICAP-C15"""
    assert ServiceOptions.parse(Headers.of(("Preview", "0"))).preview == 0


@pytest.mark.parametrize(("raw", "istag"), [('"abc"', "abc"), ("abc", "abc"), ('"', '"'), ("x" * 40, "x" * 32)])
def test_istag_with_and_without_quotes(raw: str, istag: str) -> None:
    """ICAP-C21"""
    assert ServiceOptions.parse(Headers.of(("ISTag", raw))).istag == istag


@pytest.mark.parametrize(
    ("path", "extension"),
    [("a/b.EXE", "exe"), ("a.b/c", ""), ("a.exe?x=y.png", "exe"), ("a.tar.gz", "gz"), ("", ""), ("x.", "")],
)
def test_extensions(path: str, extension: str) -> None:
    """ICAP-C16"""
    assert extension_of(path) == extension


def test_icp_09_transfer_lists() -> None:
    """ICAP-C16"""
    base = frozenset(("REQMOD",))
    listed = ServiceOptions(
        base,
        transfer_ignore=frozenset(("png",)),
        transfer_complete=frozenset(("zip",)),
        transfer_preview=frozenset(("*",)),
    )
    table = {"a.png": Transfer.IGNORE, "a.zip": Transfer.COMPLETE, "a.exe": Transfer.PREVIEW, "a": Transfer.PREVIEW}
    assert {path: listed.transfer(path) for path in table} == table
    assert ServiceOptions(base).transfer("a.png") is Transfer.PREVIEW
    assert listed.by_extension
    for alike in (ServiceOptions(base), ServiceOptions(base, transfer_preview=frozenset("*"))):
        assert not alike.by_extension
        assert {alike.transfer(path) for path in table} == {Transfer.PREVIEW}
    assert ServiceOptions(base, transfer_ignore=frozenset(("png",))).transfer("a.exe") is Transfer.COMPLETE


NAMES = st.frozensets(st.text("abcxyz019", min_size=1, max_size=5), max_size=3)
NUMBER = st.one_of(st.none(), st.integers(0, 999_999_999))


@given(
    st.frozensets(st.sampled_from(["REQMOD", "RESPMOD"]), min_size=1),
    st.text("ab01-", max_size=32),
    NUMBER,
    NUMBER,
    NUMBER,
    NAMES,
)
def test_written_fields_are_read_back(
    methods: frozenset[str],
    istag: str,
    ttl: int | None,
    preview: int | None,
    connections: int | None,
    names: frozenset[str],
) -> None:
    options = ServiceOptions(methods, istag, ttl, preview, connections, names, "s", "id", names, names, names, names)
    assert ServiceOptions.parse(Headers(options.fields())) == options
