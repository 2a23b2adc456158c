"""docs/cli.md says what the commands say."""

from pathlib import Path
from typing import Any

import pytest
import typer

from appliance.cli import reference
from appliance.cli.root import command

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def _names(node: Any, name: str) -> list[str]:
    inner = getattr(node, "commands", None)
    return [name] if inner is None else [each for word, child in inner.items() for each in _names(child, f"{name} {word}")]


def test_docs_are_made_from_the_commands() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference.markdown(), "run: python -m appliance.cli.reference docs/cli.md"


def test_docs_every_command_has_a_section_and_an_example() -> None:
    page = PAGE.read_text(encoding="utf-8")
    names = _names(command(), "arcus")
    assert len(names) >= 12
    assert [name for name in names if f"## {name}\n" not in page or f"\n{name}" not in page] == []


def test_docs_an_undocumented_command_is_an_error() -> None:
    app = typer.Typer()
    app.command()(lambda: None)
    with pytest.raises(ValueError, match="no help, or no example"):
        reference._section(typer.main.get_command(app), "arcus silent")
