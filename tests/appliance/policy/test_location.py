from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.target import Target
from appliance.policy.location import destination, is_safe, with_reason


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://portal.test", Target("portal.test", 443)),
        ("HTTP://Portal.Test/x?y#z", Target("portal.test", 80)),
        ("http://portal.test:8080/", Target("portal.test", 8080)),
        ("https://[2001:db8::1]:8443/x", Target("2001:db8::1", 8443)),
    ],
)
def test_destination(url: str, expected: Target) -> None:
    assert destination(url) == expected


@pytest.mark.security
@given(st.text(max_size=30), st.text(max_size=30))
def test_pol_06_whatever_a_rule_is_called_the_url_stays_one_line_and_its_host(reason: str, name: str) -> None:
    url = with_reason(
        "https://portal.test/p?a=1#f", reason.encode("utf-8", "replace").decode(), name.encode("utf-8", "replace").decode()
    )
    assert is_safe(url)
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.path, parts.fragment) == ("https", "portal.test", "/p", "f")
    assert parse_qs(parts.query)["a"] == ["1"]


@pytest.mark.security
@given(st.text(max_size=40))
def test_any_text_is_a_destination_or_a_valueerror(text: str) -> None:
    for url in (text, f"https://{text}", f"http://portal.test/{text}"):
        try:
            target = destination(url)
        except ValueError:
            continue
        assert is_safe(url)
        assert target.port
