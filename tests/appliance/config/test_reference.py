"""docs/configuration.md says what the models say."""

from pathlib import Path

import pytest

from appliance.config import reference
from appliance.config.root import AppConfig
from appliance.config.schema import models_in
from appliance.config.values import Node

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_docs_are_made_from_the_models() -> None:
    made = reference.markdown()
    hint = "run: python -m appliance.config.reference docs/configuration.md"
    assert PAGE.read_text(encoding="utf-8") == made, hint


def _models(model: type[Node], seen: set[type[Node]]) -> set[type[Node]]:
    if model not in seen:
        seen.add(model)
        for field in model.model_fields.values():
            for inner in models_in(field.annotation):
                _models(inner, seen)
    return seen


def test_docs_every_setting_is_in_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    keys = {key for model in _models(AppConfig, set()) for key in model.model_fields}
    assert len(keys) > 100
    assert sorted(key for key in keys if f"| `{key}` |" not in page) == []


def test_docs_an_undocumented_setting_is_an_error() -> None:
    class Silent(Node):
        """Has a key that says nothing."""

        silent: int = 0

    with pytest.raises(ValueError, match=r"Silent\.silent has no docstring"):
        reference._table(Silent)


def test_docs_values_are_told_in_the_words_of_the_first_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "<class" not in page
    assert "| `proceed` | duration | `8h` |" in page, "bounds do not make a duration a bare number"
    assert "| `until` | date | none |" in page
