from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http

from appliance.engine.http.headers import make_headers

NAMES = st.sampled_from([b"Host", b"host", b"HOST", b"Accept", b"X-\xe9", b"X-\xc9", b"x-\xff"])
VALUES = st.sampled_from([b"", b"a", b"b, c", "é".encode(), b"\xff\xfe"])
ASKED = st.sampled_from(["host", "Host", "accept", "absent", "x-é", "X-\udcff", b"hOsT", b"X-\xff", b"none", ""])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6).map(tuple), ASKED)
def test_answers_are_those_of_stock_headers(fields: tuple[tuple[bytes, bytes], ...], name: str | bytes) -> None:
    ours, stock = make_headers(fields), http.Headers(fields)
    assert ours.get_all(name) == stock.get_all(name)
    assert ours.get(name) == stock.get(name)
    assert ours.get(name, "default") == stock.get(name, "default")
    assert (name in ours) == (name in stock)
    assert ours == stock
    assert ours.copy() == stock


def test_they_change_like_stock_headers() -> None:
    ours, stock = (kind(((b"A", b"1"), (b"a", b"2"), (b"B", b"3"))) for kind in (make_headers, http.Headers))
    for each in (ours, stock):
        each["a"] = "4"
        each.add("C", "5")
        del each["b"]
    assert ours.fields == stock.fields == ((b"A", b"4"), (b"C", b"5"))
    assert ours.pop("c") == "5"
    assert ours.setdefault("d", "6") == "6"
