"""Words for a person, and where they go beside the log."""

import io
import sys

import pytest

from appliance.app.speaker import Speaker
from appliance.config.root import Log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("target", "terminal", "on_error"),
    [
        ("stdout", False, True),
        ("stdout", True, False),
        ("stderr", False, False),
        ("journal", False, False),
        ("stderr", True, False),
    ],
)
def test_the_log_has_its_stream_for_itself(
    monkeypatch: pytest.MonkeyPatch, target: str, terminal: bool, on_error: bool
) -> None:
    out, err = Terminal() if terminal else io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    Speaker(Log.model_validate({"target": target}))("arcus: ready")
    assert (out.getvalue(), err.getvalue()) == (("", "arcus: ready\n") if on_error else ("arcus: ready\n", ""))
