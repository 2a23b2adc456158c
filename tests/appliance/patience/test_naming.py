"""How a delivered file is called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.patience.naming import MAX_NAME, delivered, disposition, file_name


@pytest.mark.parametrize(
    ("given_", "path", "name"),
    [
        ("", "/a/big.iso?x=1", "big.iso"),
        ("", "/a/na%20me.iso", "na me.iso"),
        ("", "/", "download"),
        ('attachment; filename="report.pdf"', "/x", "report.pdf"),
        ("inline; filename*=UTF-8''na%C3%AFve.pdf", "/x", "naïve.pdf"),
        ("attachment", "/x.zip", "x.zip"),
        ('attachment; filename="../../etc/passwd"', "/x", "passwd"),
        ('attachment; filename="C:\\\\dir\\\\a.exe"', "/x", "a.exe"),
        ("", "/%2e%2e", "download"),
        ("", "/exe%E2%80%AEtxt.scr", "exe_txt.scr"),
        ("attachment; filename*=undefined''a.exe", "/x.zip", "x.zip"),
        ("attachment; filename*=idna''a%80.exe", "/x.zip", "x.zip"),
        ("attachment; filename*=\x00''a.exe", "/x.zip", "x.zip"),
    ],
)
def test_by_the_server_s_field_or_by_the_path(given_: str, path: str, name: str) -> None:
    assert file_name(given_, path) == name


@pytest.mark.security
@given(st.text(max_size=400), st.text(max_size=400))
def test_whatever_a_server_says_the_name_is_harmless(given_: str, path: str) -> None:
    name = file_name(given_, path)
    assert 0 < len(name) <= MAX_NAME
    assert name.isprintable()
    assert "/" not in name
    assert "\\" not in name
    value = disposition(name)
    assert value.isascii()
    assert value.isprintable()
    assert value.startswith('attachment; filename="')
    assert value.count('"') == 2


_WORDS = (
    "attachment; ", "filename", "*", "0", "1", "=", "''", "utf-8", "undefined", "idna", "punycode", "%80", "%", '"', ";", "=?",
    "\udc80", "\\", "/", "..", "\x00", "\u00e9",
)  # fmt: skip


@pytest.mark.security
@given(st.lists(st.sampled_from(_WORDS), max_size=14).map("".join))
def test_a_field_in_every_spelling_gives_a_name(field: str) -> None:
    assert disposition(file_name("attachment; filename" + field, "/x")).isascii()


@pytest.mark.security
def test_nothing_of_the_head_comes_along_but_what_describes_the_file() -> None:
    fields = (
        ("Content-Type", "text/svg"), ("Set-Cookie", "a=b"), ("Content-Encoding", "gzip"), ("Refresh", "0;url=x"),
        ("Content-Disposition", "inline"), ("Clear-Site-Data", "*"), ("Location", "/x"), ("ETag", '"server"'),
    )  # fmt: skip
    names = [name for name, _ in delivered(fields, "x")]
    assert names[:2] == ["Content-Type", "Content-Encoding"]
    assert not {"Set-Cookie", "Refresh", "Clear-Site-Data", "Location", "ETag"} & set(names)
    assert dict(delivered(fields, "x"))["Content-Disposition"].startswith("attachment;")
