"""The lane of a tunnel from its first bytes, however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import ClientError
from appliance.domain.facts import HelloFacts
from appliance.domain.reason import Reason
from appliance.engine.recognise import classify, classify_plain

LIMIT = 16_384
REQUESTS = [b"GET / HTTP/1.1\r\n", b"M-SEARCH * HTTP/1.1\r\n", b"p!~ x"]


@pytest.mark.parametrize("data", REQUESTS)
def test_http_is_seen_at_the_space_after_the_method_and_not_before(data: bytes) -> None:
    end = data.index(b" ") + 1
    assert [classify(data[:size], LIMIT) for size in range(1, end)] == [None] * (end - 1)
    assert classify(data[:end], LIMIT) == classify(data, LIMIT) == "http"
    assert classify_plain(data[:end]) == "http"


@pytest.mark.parametrize("data", [b"\x00", b"SSH-2.0-OpenSSH_9.6\r\n", b"\x80\x2e\x01", b"GET\t/ ", b"A" * 33, b"\xff" * 50])
def test_what_is_neither_is_unknown(data: bytes) -> None:
    assert classify(data, LIMIT) == "unknown"
    assert classify_plain(data) == "unknown"


def test_a_method_of_32_letters_is_the_longest() -> None:
    assert classify(b"A" * 32, LIMIT) is None
    assert classify(b"A" * 32 + b" ", LIMIT) == "http"


def test_http2_with_prior_knowledge_is_unknown_at_its_end() -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    assert classify(preface, LIMIT) == "unknown"
    assert classify(preface[:-1], LIMIT) is None


@pytest.mark.security
def test_tls_inside_tls_is_unknown() -> None:
    assert classify_plain(b"\x16\x03\x01\x00\x05") == "unknown"


@pytest.mark.parametrize("data", [b"\x16", b"\x16\x03", b"\x16\x03\x01\x02\x00"])
def test_a_hello_that_has_begun_is_waited_for(data: bytes) -> None:
    assert classify(data, LIMIT) is None


@pytest.mark.parametrize(("length", "refused"), [(1024, False), (1025, True)])
def test_a_hello_over_the_limit_is_refused_after_its_first_record(length: int, refused: bool) -> None:
    data = b"\x16\x03\x01\x00\x10\x01" + length.to_bytes(3) + bytes(12)
    if not refused:
        assert classify(data, 1024) is None
        return
    with pytest.raises(ClientError) as caught:
        classify(data, 1024)
    assert caught.value.reason is Reason.BAD_CLIENT_HELLO


@given(st.binary(max_size=80))
def test_nothing_but_the_four_answers_and_one_error(data: bytes) -> None:
    try:
        answer = classify(data, LIMIT)
    except ClientError as error:
        assert error.reason is Reason.BAD_CLIENT_HELLO
    else:
        assert answer is None or isinstance(answer, HelloFacts) or answer in ("http", "unknown")


@given(st.binary(min_size=1, max_size=60), st.data())
def test_an_answer_about_http_does_not_change_with_more_bytes(data: bytes, draw: st.DataObject) -> None:
    """But for a line that turns out to name no version when it is complete: the strict layer refuses that one."""
    cut = draw.draw(st.integers(1, len(data)))
    early, late = classify_plain(data[:cut]), classify_plain(data)
    incomplete = early == "http" and b"\n" not in data[:cut].removeprefix(b"\r\n")
    assert early is None or late == early or (incomplete and late == "unknown")
