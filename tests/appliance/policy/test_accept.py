import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.accept import Form, negotiate

FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.TEXT),
        ("*/*", Form.TEXT),
        ("image/*", Form.TEXT),
        (FIREFOX, Form.HTML),
        ("TEXT/HTML ; charset=utf-8", Form.HTML),
        ("application/json", Form.JSON),
        ("application/json, text/plain, */*", Form.JSON),
        ("application/json;q=0.5, text/html", Form.HTML),
        ("text/html;q=0.2, application/json;q=0.9", Form.JSON),
        ("text/plain, text/html", Form.TEXT),
        ("text/html;q=0", Form.TEXT),
        ("text/html;q=nan", Form.TEXT),
        ("text/html;q=-1", Form.TEXT),
        ("text/html;q=9", Form.TEXT),
        ("text/html;q=x, application/json;q=0.1", Form.JSON),
        ("x/y," * 2000 + "text/html", Form.TEXT),
    ],
)
def test_negotiate(accept: str, form: Form) -> None:
    assert negotiate(accept) is form


@given(st.text(st.sampled_from("textplainhmljson/*;,=q.0159 \t")))
def test_anything_has_a_form(accept: str) -> None:
    assert negotiate(accept) in Form
