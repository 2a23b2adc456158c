import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.identity.schemes import MAX_HEADER, MAX_PASSWORD, MAX_USER, challenge, parse_basic

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029"), max_size=60)


def basic(text: str | bytes) -> str:
    return "Basic " + base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


@given(TEXT.filter(lambda name: name and ":" not in name), TEXT)
@example("Aladdin", "open sesame")
@example("test", "123£")
@example("a", "with:colons:inside")
@example("a", "")
def test_usr_01_credentials_come_back_as_they_were_sent(name: str, password: str) -> None:
    assert parse_basic(basic(f"{name}:{password}")) == (name, password)
    assert parse_basic(basic(f"{name}:{password}").encode()) == (name, password)


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "bAsIc  "])
def test_usr_01_the_scheme_is_case_insensitive(scheme: str) -> None:
    assert parse_basic(f"{scheme} QWxhZGRpbjpvcGVuIHNlc2FtZQ== ") == ("Aladdin", "open sesame")


@pytest.mark.security
@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "Digest username=a",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ",  # padding left out
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==x",
        "Basic QWxh ZGRpbjpvcGVuIHNlc2FtZQ==",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZR==",  # stray bits
        "Basic YTpi\r\nX-Evil: 1",
        "Basic YTpi\n",
        "Basic =",
        "Basic YTpi,Basic YTpi",
        basic("no colon"),
        basic(":no name"),
        basic("a\x00b:c"),
        basic("a:b\r\nX: y"),
        basic("a:\x1b[31m"),
        basic("a\u0085:b"),
        basic("a\u2028:b"),
        basic(b"\xff\xfe:x"),
        basic(b"\xc0\xba:x"),  # overlong
        basic(b"a:\xed\xa0\x80"),  # surrogate
    ],
)
def test_usr_01_malformed_credentials_are_refused(header: str) -> None:
    with pytest.raises(ValueError):
        parse_basic(header)


def test_limits_hold_at_the_limit_and_not_above() -> None:
    name, password = "n" * MAX_USER, "p" * MAX_PASSWORD
    assert parse_basic(basic(f"{name}:{password}")) == (name, password)
    for text in (f"{name}n:{password}", f"{name}:{password}p"):
        with pytest.raises(ValueError, match="too long"):
            parse_basic(basic(text))
    with pytest.raises(ValueError, match="too long"):
        parse_basic("Basic " + "A" * (MAX_HEADER - 5))
    with pytest.raises(ValueError, match="no user name"):
        parse_basic("Basic " + "QUFB" * ((MAX_HEADER - 6) // 4))


@pytest.mark.security
@given(st.one_of(st.text(), st.binary().map(lambda data: b"Basic " + data), st.binary().map(basic)))
def test_any_header_is_read_or_refused_with_valueerror(header: str | bytes) -> None:
    try:
        name, password = parse_basic(header)
    except ValueError:
        return
    assert name
    assert ":" not in name
    assert not any(char in name + password for char in "\r\n\x00\x1b\x7f")


@pytest.mark.security
def test_secrets_do_not_reach_the_message() -> None:
    for header in (basic("hunter2"), basic("hunter2\x00:x"), "Bearer hunter2", "Basic hunter2!"):
        with pytest.raises(ValueError) as caught:
            parse_basic(header)
        assert "hunter2" not in str(caught.value)
        assert header.split()[-1] not in str(caught.value)


@pytest.mark.security
@given(st.text())
@example('a"b\\c\r\nSet-Cookie: x')
def test_usr_01_a_realm_cannot_leave_its_quotes(realm: str) -> None:
    value = challenge(realm)
    assert value.isascii()
    assert value.isprintable()
    assert value.startswith('Basic realm="')
    assert value.endswith('", charset="UTF-8"')
    inner = value[len('Basic realm="') : -len('", charset="UTF-8"')].replace("\\\\", "").replace('\\"', "")
    assert '"' not in inner
    assert "\\" not in inner
