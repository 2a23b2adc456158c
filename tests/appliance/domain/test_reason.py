"""Reason words: documented, unique, and each of them said somewhere."""

import re
from http import HTTPStatus
from pathlib import Path

import pytest

from appliance.domain.reason import Reason, Source
from appliance.domain.reference import markdown

ROOT = Path(__file__).parents[3]
MAPPINGS = {"appliance/domain/reason.py", "appliance/audit/outcome.py", "appliance/policy/wording.py", "appliance/explain.py"}
"""Files that speak about reasons without being one's cause."""


def test_the_page_is_up_to_date() -> None:
    written = (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")
    assert written == markdown(), "run: python -m appliance.domain.reference docs/reasons.md"


def test_every_word_can_come_up() -> None:
    files = [path for top in ("appliance", "addons", "certs", "icap") for path in (ROOT / top).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files if str(path.relative_to(ROOT)) not in MAPPINGS)
    said = set(re.findall(r"\bReason\.([A-Z0-9_]+)\b", text))
    assert [reason.name for reason in Reason if reason.name not in said] == []


@pytest.mark.parametrize("reason", Reason)
def test_a_word_is_a_label_and_its_status_an_answer(reason: Reason) -> None:
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", reason.word)
    assert Reason(reason.word) is reason
    assert reason.status == 499 or HTTPStatus(reason.status).is_client_error or reason.status in (200, 302, 500, 502, 503, 504)
    assert re.fullmatch(r"[A-Z][^\n|]*\.", reason.text)
    assert (reason.source is Source.NONE) == (reason is Reason.OK)
