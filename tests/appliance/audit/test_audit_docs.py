from pathlib import Path

from appliance.audit.fields import ALIASES, FIELDS, markdown
from appliance.audit.outcome import ORDINARY_ENDS
from appliance.domain.reason import Reason

DOCS = Path(__file__).parents[3] / "docs" / "audit.md"


def test_every_field_is_in_the_documentation() -> None:
    text = DOCS.read_text()
    for name in FIELDS:
        assert f"`{name.replace('scans.', 'scans[].').replace('flows.', 'flows[].')}`" in text, (
            f"docs/audit.md does not name {name}"
        )
    assert markdown() in text


def test_event_types_and_actions_are_in_the_documentation() -> None:
    text = DOCS.read_text()
    for word in ("connection", "request", "response", "allow", "block", "error", "redirect", "require_auth", "fail"):
        assert f"`{word}`" in text


def test_the_short_names_in_the_documentation_exist() -> None:
    line = next(line for line in DOCS.read_text().splitlines() if "Short names:" in line)
    named = {word for word in line.split("Short names:")[1].split("`") if word.isalnum() and word.islower()}
    assert named
    assert named <= set(ALIASES)


def test_ordinary_ends_are_reasons() -> None:
    assert Reason.OK in ORDINARY_ENDS
