"""docs/reasons.md, from the reason words: `python -m appliance.domain.reference docs/reasons.md`."""

import sys
from pathlib import Path
from typing import Final

from appliance.domain.reason import Reason

_INTRO: Final = """# Reason words

Each task ends with one word that says why. The same word stands in the audit record (`reason`), on the page that a person
sees, in the labels of the metrics, in the log and in what `arcus explain` answers.
This page is made from `appliance/domain/reason.py` by `python -m appliance.domain.reference docs/reasons.md`.

The status is what a client gets where there is a response to send: inside a TLS handshake or a SOCKS negotiation there is
none, and after a response has begun it is too late for one. Who caused it is `client`, `upstream` (the server, or a parent
proxy), `policy` (a decision of the operator's), `icap` (scanning), `internal` (the appliance), or `none`.

| word | status | caused by | meaning |
|---|---|---|---|
"""


def markdown() -> str:
    """The page."""
    return _INTRO + "".join(f"| `{each.word}` | {each.status} | {each.source.value} | {each.text} |\n" for each in Reason)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
