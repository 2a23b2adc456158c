"""The table of bad servers: counts, what is wrong, and what was named."""

from bench.tls_report import Outcome, Results, markdown
from tests.tlslab.case import Expect, LabCase
from tests.tlslab.table import CASES

MACHINE = {"date": "2026-01-01", "machine": "2 cores", "versions": "Arcus 0"}


def results(**proxies: set[str]) -> Results:
    """Everything right, but for the cases whose ids are given."""
    return Results(
        MACHINE, CASES, {name: {str(case): outcome(case, wrong) for case in CASES} for name, wrong in proxies.items()}
    )


def outcome(case: LabCase, wrong: set[str]) -> Outcome:
    right = str(case) not in wrong
    return Outcome((case.expect is Expect.MUST_PASS) is right, right, True, "status 502")


def line(text: str, start: str) -> list[str]:
    found = next(row for row in text.splitlines() if row.startswith(f"| {start}"))
    return [part.strip() for part in found.strip("|").split("|")][1:]


def test_each_group_and_each_expectation_has_a_row() -> None:
    text = markdown(results(arcus=set(), squid={"time: expired", "controls: plain"}))
    total = sum(case.group == "time" for case in CASES)
    assert line(text, "time") == [f"{total} / {total}", f"{total - 1} / {total}"]
    good = sum(case.expect is Expect.MUST_PASS for case in CASES)
    assert line(text, "*must pass*") == [f"{good} / {good}", f"{good - 1} / {good}"]
    assert line(text, "**all**") == [f"{len(CASES)} / {len(CASES)}", f"{len(CASES) - 2} / {len(CASES)}"]


def test_what_is_wrong_is_listed_with_what_happened() -> None:
    text = markdown(results(arcus=set(), squid={"time: expired", "controls: plain"}))
    assert "- time: expired (must refuse): passes" in text
    assert "- controls: plain (must pass): does not pass (status 502)" in text
    assert "## What Arcus gets wrong\n\nNothing." in text


def test_named_causes_are_counted_for_bad_servers_only() -> None:
    bad = sum(case.expect is not Expect.MUST_PASS for case in CASES)
    assert f"in {bad} of {bad} bad cases" in markdown(results(arcus=set()))


def test_what_clients_meet_is_a_table_of_its_own() -> None:
    found = results(arcus=set(), squid=set())
    found.client_side.update(arcus={"TLS 1.3": "yes", "serial number, bits": "127"}, squid={"TLS 1.3": "no"})
    text = markdown(found)
    assert line(text, "TLS 1.3") == ["yes", "no"]
    assert line(text, "serial number, bits") == ["127", "?"]
    assert "Towards the client" not in markdown(results(arcus=set()))
