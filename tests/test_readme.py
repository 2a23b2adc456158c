"""The first page that anybody reads: what it points to is there, and everything there is pointed to."""

import re
from pathlib import Path

import pytest

from tests.e2e.running import ROOT

README = (ROOT / "README.md").read_text()
PAGES = sorted(ROOT.glob("docs/*.md"))
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_is_found_from_the_readme(page: Path) -> None:
    assert f"(docs/{page.name})" in README


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    gone = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert gone == []


def test_its_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE))
    assert {"run", "test"} <= named
    assert [target for target in sorted(named) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
