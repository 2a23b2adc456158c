from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.mask import Masker

MASKER = Masker(["token", "api_key", "code", "signature"])


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("/a", "/a"),
        ("/a?b=c", "/a?b=c"),
        ("/a?token=s", "/a?token=***"),
        ("/a?x=1&token=s&y=2", "/a?x=1&token=***&y=2"),
        ("/a?x=1;token=s", "/a?x=1;token=***"),
        ("/a;token=s?x=1", "/a;token=***?x=1"),
        ("/a#token=s", "/a#token=***"),
        ("/a?TOKEN=s", "/a?TOKEN=***"),
        ("/a?%74oken=s", "/a?%74oken=***"),
        ("/a?refresh_token=s", "/a?refresh_token=***"),
        ("/a?refreshToken=s", "/a?refreshToken=***"),
        ("/a?apiKey=s&api-key=s&API_KEY=s", "/a?apiKey=***&api-key=***&API_KEY=***"),
        ("/a?X-Amz-Signature=s", "/a?X-Amz-Signature=***"),
        ("/a?token[]=s", "/a?token[]=***"),
        ("/a?token=s=t", "/a?token=***"),
        ("/a?token=", "/a?token="),
        ("/a?token", "/a?token"),
        ("/a?tokens=3&encode=1", "/a?tokens=3&encode=1"),
        ("/a?next=/b?token=s", "/a?next=/b?token=***"),
        ("/a?next=%2Fb%3Ftoken%3Ds&z=1", "/a?next=***&z=1"),
        ("/a?next=%2Fb%3Fpage%3D2", "/a?next=%2Fb%3Fpage%3D2"),
        ("http://user:pw@h.test/a", "http://h.test/a"),
        ("//user:pw@h.test/a", "//h.test/a"),
        ("/mail?to=a@b.test", "/mail?to=a@b.test"),
        ("http://h.test/a@b", "http://h.test/a@b"),
    ],
)
def test_url(url: str, masked: str) -> None:
    assert MASKER.url(url) == masked


@pytest.mark.security
@given(
    st.text(st.characters(categories=["Lu", "Ll", "Nd"]), min_size=8, max_size=30),
    st.sampled_from(["token", "access_token", "Code", "apiKey"]),
    st.text(max_size=20),
)
def test_a_secret_never_gets_through(secret: str, name: str, before: str) -> None:
    marked = f"S3{secret}"
    url = f"/p?{quote(before)}&{name}={quote_plus(marked)}&z=1"
    assert quote_plus(marked) not in MASKER.url(url)
    assert marked not in MASKER.url(url)


@given(st.text(max_size=200))
def test_anything_is_masked_to_something_printable_and_short(text: str) -> None:
    masked = MASKER.url(text, 100)
    assert masked.isprintable()
    assert len(masked) <= 100


def test_a_value_that_is_cut_is_masked_nevertheless() -> None:
    assert MASKER.url("/a?token=" + "s" * 5000, 50) == "/a?token=***"


def test_the_limit_is_a_limit() -> None:
    assert MASKER.url("/" + "a" * 99, 100) == "/" + "a" * 99
    assert len(MASKER.url("/" + "a" * 100, 100)) == 100


def test_names_that_a_client_makes_up_take_no_memory() -> None:
    assert MASKER.url(f"/a?{'n' * 65}_token=s") == f"/a?{'n' * 65}_token=***"
    before = MASKER._secret.cache_info().currsize
    MASKER.url(f"/a?{'m' * 65}=s")
    assert MASKER._secret.cache_info().currsize == before
