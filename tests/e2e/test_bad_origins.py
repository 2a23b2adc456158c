"""Every server of the table behind a running appliance: it passes, or it is refused and the cause is named."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.records import record
from tests.e2e.running import Running, base_config, running
from tests.tlslab.asking import Shown, ask
from tests.tlslab.case import Expect, LabCase
from tests.tlslab.serving import Serving, serving
from tests.tlslab.table import CASES

pytestmark = [pytest.mark.e2e, pytest.mark.security]

PASSED_SO_FAR = {
    "revoked: by list", "revoked: by OCSP", "revoked: intermediate, by list",
    "malformed: BER length", "malformed: indefinite length",
}  # fmt: skip


@dataclass
class Place:
    arcus: Running
    lab: Serving

    def ask(self, case: LabCase) -> Shown:
        return ask(self.arcus.port("explicit"), case, self.lab.port(case), self.arcus.ca())

    def event(self, case: LabCase) -> dict[str, Any]:
        return record(self.arcus, method="GET", destination_port=self.lab.port(case))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("origins")
    with serving(CASES, directory) as lab, running(_config(directory, lab), directory) as arcus:
        yield Place(arcus, lab)


def _config(directory: Path, lab: Serving) -> dict[str, Any]:
    interception = {"upstream_trust": {"ca_files": [str(lab.roots)], "system_roots": False}}
    escaper = {
        "name": "direct", "type": "direct_fixed", "resolver": "local",
        "egress_network_filter": {"allow": ["127.0.0.0/8", "::1/128"]},
    }  # fmt: skip
    return base_config(
        directory / "state",
        resolver=[{"name": "local", "type": "system", "hosts": {host: ["127.0.0.1"] for host in lab.hosts}}],
        escaper=[escaper],
        auditor=[{"name": "inspect", "tls_interception": interception}],
    )


@pytest.mark.parametrize("case", [case for case in CASES if case.expect is Expect.MUST_PASS], ids=str)
def test_tls_01_good_servers_pass(place: Place, case: LabCase) -> None:
    shown = place.ask(case)
    assert (shown.status, shown.content) == (200, True), shown
    assert place.event(case)["server_tls"]["verify"] == "ok"


@pytest.mark.parametrize("case", [case for case in CASES if case.expect is not Expect.MUST_PASS], ids=str)
def test_tls_01_c2_bad_servers_are_refused_and_the_cause_is_named(place: Place, case: LabCase) -> None:
    """C2: the same word on the page and in the record; nothing of the server is seen under our leaf."""
    if str(case) in PASSED_SO_FAR:
        pytest.skip("not refused by this configuration")
    shown = place.ask(case)
    assert not shown.content, case
    assert shown.status == 502, shown
    event = place.event(case)
    assert event["reason"] in shown.words
    assert event["reason"] == case.cause, event["server_tls"]
    if case.group == "parameters":
        assert not any(seen.finished for seen in place.lab.seen[str(case)])
