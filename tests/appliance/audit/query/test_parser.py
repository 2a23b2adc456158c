import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.audit.errors import QueryError
from appliance.audit.query.parser import MAX_DEPTH, MAX_LENGTH, MAX_TERMS, MAX_WILDCARDS, parse
from appliance.audit.query.syntax import And, Match, Node, Not, Or, Value, Words


def field(name: str, *pieces: str, operator: str = ":") -> Match:
    return Match(name, operator, Value(pieces))


def bare(node: Node | None) -> Node | None:
    """Without positions."""
    match node:
        case Match(name, operator, value):
            return Match(name, operator, value)
        case Not(part):
            return Not(bare(part) or part)
        case And(parts):
            return And(tuple(bare(part) or part for part in parts))
        case Or(parts):
            return Or(tuple(bare(part) or part for part in parts))
    return node


A, B, C = field("a", "1"), field("b", "2"), field("c", "3")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", None),
        ("  \t ", None),
        ("a:1", A),
        ("a : 1", A),
        ("a:1 and b:2", And((A, B))),
        ("a:1 b:2", And((A, B))),
        ("a:1 OR b:2", Or((A, B))),
        ("a:1 and b:2 or c:3", Or((And((A, B)), C))),
        ("a:1 and (b:2 or c:3)", And((A, Or((B, C))))),
        ("not a:1 and b:2", And((Not(A), B))),
        ("NOT (a:1 or b:2)", Not(Or((A, B)))),
        ("not not a:1", Not(Not(A))),
        ('a:"x y"', field("a", "x y")),
        ('a:"x\\"y"', field("a", 'x"y')),
        ("a:*", field("a", "", "")),
        ("a:*.b.*", field("a", "", ".b.", "")),
        ("a:**x", field("a", "", "x")),
        ("a:\\*x", field("a", "*x")),
        ('a:"*"', field("a", "*")),
        ("a >= 4", field("a", "4", operator=">=")),
        ("a<4", field("a", "4", operator="<")),
        ("a:2001:db8::1", field("a", "2001:db8::1")),
        ("a:http://x/?y=<z>", field("a", "http://x/?y=<z>")),
        ("a:(1 or not 2)", Or((A, Not(field("a", "2"))))),
        ("hello", Words(Value(("hello",)))),
        ('"and"', Words(Value(("and",)))),
        ("order:1", field("order", "1")),
        ("a:and", field("a", "and")),
    ],
)
def test_trees(text: str, tree: Node | None) -> None:
    assert bare(parse(text)) == tree


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(", "the end"),
        ("(a:1", "not closed"),
        ("a:1)", "not expected"),
        ("()", "not expected"),
        ("a:", "needs a value"),
        (":1", "not expected"),
        ("a:1 and", "the end"),
        ("or", "not expected"),
        ("a:1 or or b:2", "not expected"),
        ("not", "the end"),
        ('"a', "quote"),
        ('"a":1', "not expected"),
        ("a:(b:1)", "not expected"),
        ("a>=(1)", "needs a value"),
        ("a\\", "backslash"),
        ("a:1:2 :3", "not expected"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        parse(text)


def test_limits() -> None:
    parse("(" * (MAX_DEPTH - 1) + "a:1" + ")" * (MAX_DEPTH - 1))
    with pytest.raises(QueryError, match="deeper"):
        parse("(" * MAX_DEPTH + "a:1" + ")" * MAX_DEPTH)
    with pytest.raises(QueryError, match="deeper"):
        parse("not " * MAX_DEPTH + "a")
    parse(" ".join(["a:1"] * MAX_TERMS))
    with pytest.raises(QueryError, match="terms"):
        parse(" ".join(["a:1"] * (MAX_TERMS + 1)))
    parse("a:" + "*x" * MAX_WILDCARDS)
    with pytest.raises(QueryError, match="wildcards"):
        parse("a:" + "*x" * (MAX_WILDCARDS + 1))
    parse("a" * MAX_LENGTH)
    with pytest.raises(QueryError, match="longer"):
        parse("a" * (MAX_LENGTH + 1))


PIECES = st.sampled_from(
    ["a", "host", ":", ">=", "<", "(", ")", '"', "\\", "*", " ", "and", " or ", "not ", "x:1", "'", ";", "--", "\x00", "é"]
)


@pytest.mark.security
@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=40).map("".join)))
@example("\\")
@example('a:"\\')
def test_any_text_is_a_tree_or_a_query_error(text: str) -> None:
    with contextlib.suppress(QueryError):
        parse(text)
