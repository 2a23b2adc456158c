"""Shared by all tests: which feature rows a test shows, collected from its name and docstring."""

import json
import os
import re
import sys
from pathlib import Path

import hypothesis
import pytest

# Examples are not timed: the machine that runs them may be busy. Nor is their making: the first text that a process
# draws costs seconds where no table of characters has been stored yet.
hypothesis.settings.register_profile("arcus", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("arcus")

# The tests start hundreds of processes: what the first has compiled is kept for the others, whatever the shell says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

KINDS = "SRV|TEN|LIM|ESC|LB|CB|CA|RT|PL|HC|FW|DNS|GEO|USR|POL|TLS|AUD|ICP|CFG|MET|LOG|API|CTL|DB|RDS|REG|TCP|DEP|ERR|TST"
_IN_NAME = re.compile(rf"(?<![a-z])({KINDS.lower()})_(\d\d)(?!\d)")
_IN_TEXT = re.compile(rf"\b({KINDS})-(\d\d)\b")
_ICAP_IN_NAME = re.compile(r"icap_([cs]\d\d)(?!\d)")
_ICAP_IN_TEXT = re.compile(r"\bICAP-([CS]\d\d)\b")
PROCESSES = ("e2e", "faults", "interop", "security")
"""Tests of whole processes, as are those marked ``integration``, on a machine that may be busy with other things: one that
fails is asked once more, and the summary says so."""
HERE = Path(__file__).parent
RESULTS = HERE.parent / ".pytest_cache" / "features.json"


def rows_of(name: str, docstring: str | None) -> list[str]:
    """Feature rows named by a test: ``test_srv_02_...``, or ``SRV-02`` in the docstring; and items of the ICAP checklist:
    ``test_icap_c23_...``, or ``ICAP-C23``."""
    items = (*_ICAP_IN_NAME.findall(name), *_ICAP_IN_TEXT.findall(docstring or ""))
    found = [f"ICAP-{item.upper()}" for item in items]
    found += [f"{kind.upper()}-{number}" for kind, number in _IN_NAME.findall(name)]
    found += [f"{kind}-{number}" for kind, number in _IN_TEXT.findall(docstring or "")]
    return sorted(set(found))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        function = getattr(item, "function", None)
        if rows := rows_of(item.name, getattr(function, "__doc__", None)):
            item.user_properties.append(("features", rows))
        if item.path.relative_to(HERE).parts[0] in PROCESSES or item.get_closest_marker("integration"):
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=1))


class FeatureRows:
    """Collects the rows of passed tests; rows with a failed test do not count."""

    def __init__(self) -> None:
        self.passed: dict[str, set[str]] = {}
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        rows = next((value for key, value in report.user_properties if key == "features"), None)
        if not rows:
            return
        assert isinstance(rows, list)
        test = re.sub(r"\[.*\]$", "", report.nodeid)
        if report.failed:
            self.failed.update(rows)
        elif report.when == "call" and report.passed:
            for row in rows:
                self.passed.setdefault(row, set()).add(test)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput") or session.config.option.collectonly:
            return
        rows = {row: sorted(tests) for row, tests in sorted(self.passed.items()) if row not in self.failed}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({"rows": rows, "failed": sorted(self.failed)}, indent=1))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FeatureRows(), "feature-rows")
