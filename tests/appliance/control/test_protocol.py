"""The control socket's language: what is no request is refused with a sentence, whatever it is (C20, CTL-01, T21)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.protocol import (
    MAX_REQUEST,
    ProtocolError,
    Request,
    read_answer,
    read_request,
    write_answer,
    write_request,
)


def test_ctl_01_what_is_written_is_read() -> None:
    assert read_request(write_request("reload")) == Request(version=1, command="reload")
    assert read_request(write_request("reload", "/etc/arcus.yaml")).config == "/etc/arcus.yaml"
    assert read_request(write_request("status")).command == "status"
    assert read_answer(write_answer({"ok": True, "text": "ä\n"})) == {"version": 1, "ok": True, "text": "ä\n"}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"\n", "not a request"),
        (b"reload\n", "not a request"),
        (b"[]\n", "not a request"),
        (b'{"version": 1}\n', "command: Field required"),
        (b'{"version": 2, "command": "reload"}\n', "version"),
        (b'{"version": "1", "command": "reload"}\n', "version"),
        (b'{"version": 1, "command": "stop"}\n', "command"),
        (b'{"version": 1, "command": "reload", "force": true}\n', "force"),
        (b'{"version": 1, "command": "reload", "config": 7}\n', "config"),
        (b'{"version": 1, "command": "reload", "config": ""}\n', "config"),
        (b'{"version": 1, "command": "reload", "config": "a\\u0000b"}\n', "zero octet"),
        (b'{"version": 1, "command": "reload", "config": "\xff"}\n', "not a request"),
    ],
)
def test_ctl_01_what_is_no_request_is_refused_with_the_cause(line: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        read_request(line)


def test_ctl_01_a_request_at_the_limit_and_one_above() -> None:
    line = write_request("status")
    assert read_request(line.rstrip(b"\n") + b" " * (MAX_REQUEST - len(line)) + b"\n").command == "status"
    with pytest.raises(ProtocolError, match="at most"):
        read_request(line.rstrip(b"\n") + b" " * (MAX_REQUEST - len(line) + 1) + b"\n")
    path = "/" + "x" * 4095
    assert read_request(write_request("reload", path)).config == path
    with pytest.raises(ProtocolError):
        read_request(json.dumps({"version": 1, "command": "reload", "config": path + "x"}).encode())


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_near = st.fixed_dictionaries(
    {},
    optional={
        "version": st.just(1) | _json,
        "command": st.sampled_from(["reload", "status"]) | _json,
        "config": st.text(max_size=30) | _json,
        "other": _json,
    },
)


@given(
    st.binary(max_size=300) | _json.map(lambda value: json.dumps(value).encode()) | _near.map(lambda v: json.dumps(v).encode())
)
def test_ctl_01_nothing_but_a_request_gets_through(line: bytes) -> None:
    try:
        request = read_request(line)
    except ProtocolError as error:
        assert 0 < len(str(error)) <= 210
        assert str(error).isprintable()
    else:
        assert request.command in ("reload", "status")
        assert read_request(write_request(request.command, request.config)) == request


@given(st.binary(max_size=200))
def test_ctl_01_an_answer_that_was_cut_short_is_none(line: bytes) -> None:
    whole = write_answer({"ok": True, "padding": line.hex()})
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        with pytest.raises(ProtocolError):
            read_answer(whole[:cut])
    with pytest.raises(ProtocolError):
        read_answer(line + b"\x00\n")
