"""Lists of hosts as people keep them."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain import hostlist
from appliance.domain.hostlist import MAX_FLAWS, MAX_LINE, Flaw, host_entry, parse_host_list

pytestmark = pytest.mark.unit


def test_c15_the_forms_that_lists_come_in() -> None:
    text = "\ufeff# banks\r\nBank.Example.\n\n .nested.example # and below\n*.star.example\n0.0.0.0 ads.example trk.example\n"
    text += "192.0.2.1\n[2001:db8::1]\nbücher.example\nbank.example\n::1\tsix.example"
    listed = parse_host_list(text)
    assert listed.flaws == ()
    assert listed.entries == (
        "bank.example", ".nested.example", ".star.example", "ads.example", "trk.example", "192.0.2.1", "2001:db8::1",
        "xn--bcher-kva.example", "six.example",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a b", "more than one entry: 'a b'"),
        ("192.0.2.1 a.example", "more than one entry: '192.0.2.1 a.example'"),
        ("http://a.example/", "not a host name, .suffix or IP address: 'http://a.example/'"),
        ("||a.example^", "not a host name, .suffix or IP address: '||a.example^'"),
        ("a..example", "not a host name, .suffix or IP address: 'a..example'"),
        ("*", "not a host name, .suffix or IP address: '*'"),
        ("*a.example", "not a host name, .suffix or IP address: '*a.example'"),
        ("10.0.0.0/8", "not a host name, .suffix or IP address: '10.0.0.0/8'"),
        ("127.1", "not a host name, .suffix or IP address: '127.1'"),
        ("a\x1b[2J", "not a host name, .suffix or IP address: 'a\\\\x1b[2J'"),
        ("a" * (MAX_LINE + 1), f"longer than {MAX_LINE} characters"),
    ],
)
def test_c15_a_bad_line_is_named_and_the_good_ones_are_kept(line: str, message: str) -> None:
    listed = parse_host_list(f"good.example\n{line}\nlast.example")
    assert listed.flaws == (Flaw(2, message),)
    assert listed.entries == ("good.example", "last.example")


def test_a_file_that_is_no_list_is_told_in_a_few_lines() -> None:
    assert len(parse_host_list("<p>\n" * 1000).flaws) == MAX_FLAWS


def test_the_number_of_entries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostlist, "MAX_ENTRIES", 3)
    assert parse_host_list("a.test\nb.test\na.test\nc.test").flaws == ()
    assert parse_host_list("a.test\nb.test\nc.test\nd.test\ne.test").flaws == (Flaw(4, "more than 3 entries"),)


@given(st.text())
def test_any_text_is_read_without_failing_and_entries_are_in_normal_form(text: str) -> None:
    listed = parse_host_list(text)
    assert len(listed.flaws) <= MAX_FLAWS
    for entry in listed.entries:
        assert host_entry(entry) == entry
        assert not set(entry) & set("# \t\r\n*/")
    assert all(0 < flaw.line <= text.count("\n") + text.count("\r") + 1 for flaw in listed.flaws)
    assert all(flaw.message.isprintable() for flaw in listed.flaws)


LABEL = st.text(string.ascii_lowercase, min_size=1, max_size=10)
HOST = st.lists(LABEL, min_size=2, max_size=4).map(".".join)
ENTRY = st.tuples(st.sampled_from(["", "."]), HOST).map("".join)


@given(st.lists(ENTRY, max_size=20), st.sampled_from(["\n", "\r\n", " # x\n", "\n\n"]))
def test_what_is_written_is_read(entries: list[str], end: str) -> None:
    listed = parse_host_list("".join(entry + end for entry in entries))
    assert listed.entries == tuple(dict.fromkeys(entries))
    assert listed.flaws == ()
