"""YAML: what is read, what is refused, and where the lines are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.document import MAX_BYTES, MAX_DEPTH, MAX_NODES, DocumentError, read_document

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("a:\n\t- b\n", "a tab where YAML wants spaces", 2),
        ("a: [1\nb: 2\n", "not YAML: while parsing a flow sequence: expected ',' or ']', but got ':'", 2),
        ("a: *x\n", "alias *x has no anchor &x before it", 1),
        ("a: &x [*x]\n", "alias *x has no anchor &x before it", 1),
        ("a: !!python/object:os.system x\n", "tags are not supported", 1),
        ("a: !secret {}\n", "tags are not supported", 1),
        ("--- a\n--- b\n", "a second document: one file holds one", 2),
        ("a: 1\nb: \x01\n", "character U+0001 may not stand in YAML", 2),
        ('a: "\\ud800"\n', "half of a surrogate pair, which is no character", 1),
        (b"a: 1\nb: \xff\n", "not UTF-8: byte 0xff", 2),
        ("[" * 100_000, f"nested deeper than {MAX_DEPTH} levels", 1),
        ("a: " + "{b: " * 100 + "1" + "}" * 100, f"nested deeper than {MAX_DEPTH} levels", 1),
        (b" " * (MAX_BYTES + 1), f"the file is larger than {MAX_BYTES} bytes", 0),
    ],
)
def test_cfg_refused_with_its_line(text: str | bytes, message: str, line: int) -> None:
    with pytest.raises(DocumentError) as caught:
        read_document(text)
    assert (caught.value.message, caught.value.line) == (message, line)


def test_cfg_alias_bomb_ends_at_the_limit_of_values() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    with pytest.raises(DocumentError, match=f"more than {MAX_NODES} values, aliases expanded"):
        read_document("\n".join(lines))


def test_cfg_aliases_cannot_go_round_the_depth_limit() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{level}: &a{level} [*a{level - 1}]" for level in range(1, MAX_DEPTH + 1)]
    with pytest.raises(DocumentError, match=f"nested deeper than {MAX_DEPTH} levels, aliases expanded"):
        read_document("\n".join(lines))


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH])
def test_cfg_depth_at_the_limit(depth: int) -> None:
    assert read_document("[" * depth + "]" * depth).data is not None
    with pytest.raises(DocumentError):
        read_document("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_cfg_values_at_the_limit() -> None:
    # the list itself is one value
    anchor = "- &x [" + ", ".join(["0"] * 999) + "]\n"
    assert len(read_document(anchor + "- *x\n" * 198 + "- [" + ", ".join(["0"] * 998) + "]").data) == 200
    with pytest.raises(DocumentError, match="more than"):
        read_document(anchor + "- *x\n" * 199)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("0x1F", 31),
        ("0o17", 15),
        ("010", 10),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        (".inf", ".inf"),
        ("9" * 5000, "9" * 5000),
        ("true", True),
        ("yes", "yes"),
        ("no", "no"),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("10:30", "10:30"),
        ("2026-01-01", "2026-01-01"),
        ("\ufeffa", "a"),
    ],
)
def test_cfg_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert read_document(text.encode()).data == value


def test_cfg_lines_of_keys_items_and_aliases() -> None:
    document = read_document("a: &x\n  b: 1\n  c:\n    - 2\n    - d: 3\ne: *x\n")
    assert document.line(("a", "c", 1, "d")) == 5
    assert document.line(("e",)) == 6
    assert document.line(("e", "b")) == 2
    assert document.line(("a", "c", 7, "nothing")) == 3


def test_cfg_merge_keys_give_way_to_own_keys() -> None:
    assert read_document("d: &d {a: 1, b: 2}\nx: {<<: *d, b: 3}\n").data["x"] == {"a": 1, "b": 3}
    assert read_document("d: &d {a: 1}\nx: {<<: [*d, {a: 2, c: 4}]}\n").data["x"] == {"a": 1, "c": 4}
    assert read_document("x: {<<: 5}\n").flaws == [(("x",), 1, "'<<' needs a mapping, or a list of mappings")]


def test_cfg_every_duplicate_key_is_told() -> None:
    flaws = read_document("a: 1\nb: {c: 1, c: 2}\na: 3\n").flaws
    assert flaws == [
        (("b", "c"), 2, "duplicate key 'c': first given at line 2"),
        (("a",), 3, "duplicate key 'a': first given at line 1"),
    ]


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"%@#,?\n \t\\<~0x1.eU\u00e9\ud800\x85\ufeff"), max_size=60))
def test_cfg_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_document(text)
    except DocumentError as error:
        assert error.message


@given(st.binary(max_size=60))
def test_cfg_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        read_document(raw)
    except DocumentError as error:
        assert error.message
