"""What came of the bad servers, as a page in Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.tlslab.case import Expect, LabCase
from tests.tlslab.table import GROUPS

_TITLES = {"arcus": "Arcus", "mitmdump": "mitmdump", "squid": "squid"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """``passed``: the server's content was shown (or its parameters were agreed to). ``named``: the answer holds the
    reason word of the table; only Arcus can know it."""

    passed: bool
    right: bool
    named: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Results:
    """``outcomes`` by proxy and case."""

    machine: Mapping[str, str]
    cases: Sequence[LabCase]
    outcomes: dict[str, dict[str, Outcome]]
    client_side: dict[str, dict[str, str]] = field(default_factory=dict)
    """What clients meet, by proxy and title."""


def markdown(results: Results) -> str:
    return "\n".join([*_head(results), *_table(results), *_named(results), *_client_side(results), *_wrong(results)]) + "\n"


def _head(results: Results) -> list[str]:
    return [
        "# Bad servers",
        "",
        f"Made by `make bench-tls` on {results.machine['date']}; do not edit.",
        "",
        f"- Versions: {results.machine['versions']}.",
        f"- {len(results.cases)} local servers (`tests/tlslab/table.py`), good and bad, behind each proxy; all proxies believe",
        "  the same roots. Otherwise they have their defaults (squid: ssl-bump of everything), but that Arcus is told to ask",
        "  responders and lists whether certificates were revoked, which the others do not do by themselves.",
        "- The client believes the proxy's own CA and nothing else, and asks over CONNECT. Right is: a good server's content",
        "  arrives, a bad one's does not. *must*: real clients refuse it. *should*: clients differ.",
        "",
    ]  # fmt: skip


def _table(results: Results) -> list[str]:
    proxies = list(results.outcomes)
    lines = [
        "| right / all | " + " | ".join(_TITLES.get(name, name) for name in proxies) + " |",
        "| --- |" + " ---: |" * len(proxies),
    ]
    groups = [(group, [case for case in results.cases if case.group == group]) for group in GROUPS]
    expected = [(f"*{expect.value}*", [case for case in results.cases if case.expect is expect]) for expect in Expect]
    rows = [(title, cases) for title, cases in (*groups, *expected, ("**all**", results.cases)) if cases]
    return [*lines, *(_row(title, cases, results) for title, cases in rows), ""]


def _row(title: str, cases: Sequence[LabCase], results: Results) -> str:
    cells = (f"{sum(found[str(case)].right for case in cases)} / {len(cases)}" for found in results.outcomes.values())
    return f"| {title} | " + " | ".join(cells) + " |"


def _named(results: Results) -> list[str]:
    found = results.outcomes.get("arcus", {})
    bad = [case for case in results.cases if case.expect is not Expect.MUST_PASS]
    if not found or not bad:
        return []
    named = sum(found[str(case)].named for case in bad)
    words = len({case.cause for case in bad})
    return [f"Arcus names the cause on its page, by one of {words} reason words, in {named} of {len(bad)} bad cases.", ""]


def _client_side(results: Results) -> list[str]:
    found = results.client_side
    if not found:
        return []
    lines = ["## Towards the client", "", "|  | " + " | ".join(_TITLES.get(name, name) for name in found) + " |"]
    lines.append("| --- |" + " ---: |" * len(found))
    titles = dict.fromkeys(title for facts in found.values() for title in facts)
    return [
        *lines,
        *(f"| {title} | " + " | ".join(facts.get(title, "?") for facts in found.values()) + " |" for title in titles),
        "",
    ]


def _wrong(results: Results) -> list[str]:
    lines = []
    for name, found in results.outcomes.items():
        wrong = [case for case in results.cases if not found[str(case)].right]
        lines += [f"## What {_TITLES.get(name, name)} gets wrong", ""]
        lines += [f"- {case} ({case.expect.value}): {_said(found[str(case)])}" for case in wrong] or ["Nothing."]
        lines.append("")
    return lines[:-1]


def _said(outcome: Outcome) -> str:
    return "passes" if outcome.passed else f"does not pass ({outcome.detail[:100]})"
