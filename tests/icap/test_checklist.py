"""The ICAP checklist: 45 items for the client, 26 for the server. Each is named by the tests that show it."""

import re
from pathlib import Path

import pytest

ITEMS = [f"C{number:02}" for number in range(1, 46)] + [f"S{number:02}" for number in range(1, 27)]
_TESTS = Path(__file__).parents[1]


def named() -> set[str]:
    """Items in names (``test_icap_c23_...``) and docstrings (``ICAP-C23``) of tests."""
    text = "\n".join(path.read_text() for path in _TESTS.rglob("test_*.py") if path != Path(__file__))
    in_names = re.findall(r"def test_(?:[a-z0-9_]*_)?icap_([cs]\d\d)_", text)
    return {item.upper() for item in (*in_names, *re.findall(r"ICAP-([CS]\d\d)", text))}


@pytest.fixture(scope="module")
def found() -> set[str]:
    return named()


@pytest.mark.parametrize("item", ITEMS)
def test_every_item_is_named_by_a_test(item: str, found: set[str]) -> None:
    assert item in found


def test_no_other_items_are_named(found: set[str]) -> None:
    assert found == set(ITEMS)
