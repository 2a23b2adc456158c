"""The examples of the documentation are configurations: each is taken over by the default one, and checked."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from appliance.config.document import Document
from appliance.config.load import open_document, parse
from appliance.domain.errors import ConfigError

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
HERE_ONLY = re.compile(r"no such (file|directory)|cannot be read: No such file")
"""What an example names is on its reader's machine."""


def examples() -> list[Any]:
    pages = sorted((ROOT / "docs").glob("*.md"))
    found = [(page.name, number, text) for page in pages for number, text in enumerate(BLOCK.findall(page.read_text()), 1)]
    return [pytest.param(text, id=f"{name}-{number}") for name, number, text in found]


def data_of(text: str) -> dict[str, Any]:
    document: Document = open_document(text, "example")
    assert not document.flaws
    assert isinstance(document.data, dict)
    return document.data


def own() -> dict[str, Any]:
    """The default without its test origin, as docs/operating.md has people make their own."""
    lines = (ROOT / "appliance/config/embedded.yaml").read_text().splitlines()
    return data_of("\n".join(line for line in lines if "# demo" not in line))


def joined(example: dict[str, Any]) -> dict[str, Any]:
    """An auditor of the example is the one of the default with other settings."""
    made = own()
    [auditor], [tenant] = made["auditor"], made["tenant"]
    changed = [auditor | each for each in example.get("auditor", [])]
    if changed:
        made["tenant"] = [tenant | {"auditor": changed[0]["name"]}]
    return made | example | ({"auditor": changed} if changed else {})


@pytest.mark.parametrize("text", examples())
def test_an_example_can_be_pasted(text: str, tmp_path: Path) -> None:
    try:
        parse(json.dumps(joined(data_of(text))), file="example", base=tmp_path)
    except ConfigError as error:
        assert [str(each) for each in error.problems if not HERE_ONLY.search(each.message)] == []


def test_there_are_examples_of_every_page_that_is_about_settings() -> None:
    pages = {str(each.id).partition("-")[0] for each in examples()}
    assert {"bodies.md", "exclusions.md", "icap.md", "policy.md", "scanners.md", "scanning.md"} <= pages
