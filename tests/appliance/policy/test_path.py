import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.path import spellings


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/"),
        ("/a/../b", "/b"),
        ("/a/..", "/"),
        ("/a/b/.", "/a/b/"),
        ("/../../etc", "/etc"),
        ("//a//b", "/a/b"),
        ("/%61?q=%41", "/a?q=A"),
        ("/?", "/?"),
        ("*", "*"),
        ("/a/%2e%2e/b", "/b"),
        ("/%252e%252e/b", "/%2e%2e/b"),
    ],
)
def test_spellings(path: str, resolved: str) -> None:
    assert spellings(path) == tuple(dict.fromkeys((path, resolved)))


@pytest.mark.security
@given(st.text(st.sampled_from("/.%2eEfFa?b\\"), max_size=30))
def test_resolved_paths_have_no_dot_segments(text: str) -> None:
    path = "/" + text
    *_, last = spellings(path)
    route = last.partition("?")[0] if "?" in path else last
    if len(spellings(path)) == 2:
        assert not {".", ".."} & set(route.split("/"))
        assert "//" not in route
    assert spellings(path)[0] == path
