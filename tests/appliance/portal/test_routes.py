"""The route table, where other parts mount their pages."""

import pytest

from appliance.portal.routes import Route, RouteTable
from appliance.portal.visit import Answer, Visit


def nothing(_: Visit) -> Answer:
    return Answer(200, (), b"")


def test_an_exact_path_wins_then_the_longest_above() -> None:
    table = RouteTable([Route(path, nothing) for path in ("/", "/a", "/a/", "/a/b/", "/a/b/c")])
    found = {path: route.path for path in ("/", "/a", "/a/", "/a/x", "/a/b/x/y", "/a/b/c") if (route := table.find(path))}
    assert found == {"/": "/", "/a": "/a", "/a/": "/a/", "/a/x": "/a/", "/a/b/x/y": "/a/b/", "/a/b/c": "/a/b/c"}


def test_the_first_page_is_not_above_everything() -> None:
    assert RouteTable([Route("/", nothing)]).find("/x") is None


@pytest.mark.parametrize("paths", [("/a", "/a"), ("a",)])
def test_a_path_is_mounted_once(paths: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="not a path of its own"):
        RouteTable([Route(path, nothing) for path in paths])


def test_head_comes_with_get() -> None:
    assert Route("/a", nothing).takes("HEAD")
    assert not Route("/a", nothing, ("POST",)).takes("HEAD")
    assert Route("/a", nothing, ("GET", "POST")).allow == "GET, POST, HEAD"
