"""Every word for bytes that nobody judged is explained."""

from pathlib import Path

from appliance.domain.not_scanned import NotScanned

DOCS = Path(__file__).parents[3] / "docs" / "bodies.md"


def test_every_word_is_documented_with_its_text() -> None:
    text = DOCS.read_text()
    assert [each.word for each in NotScanned if f"| `{each.word}` | {each.text} |" not in text] == []
