"""A running appliance in front of every server of the table."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.records import Event, record
from tests.e2e.running import Running, base_config, running
from tests.tlslab.asking import Shown, ask
from tests.tlslab.case import LabCase
from tests.tlslab.serving import Serving, serving


@dataclass
class Place:
    arcus: Running
    lab: Serving

    def ask(self, case: LabCase) -> Shown:
        return ask(self.arcus.port("explicit"), case, self.lab.port(case), self.arcus.ca())

    def record(self, case: LabCase) -> Event:
        # two addresses may have one port
        where = {"destination_host": case.ascii, "destination_port": self.lab.port(case)}
        return record(self.arcus, method="GET", **where)


@contextlib.contextmanager
def appliance(directory: Path, cases: Sequence[LabCase], **interception: Any) -> Iterator[Place]:
    """``interception``: further keys of ``auditor.tls_interception``."""
    with serving(cases, directory) as lab, running(_config(directory, lab, interception), directory) as arcus:
        yield Place(arcus, lab)


def _config(directory: Path, lab: Serving, interception: dict[str, Any]) -> dict[str, Any]:
    trust = {"upstream_trust": {"ca_files": [str(lab.roots)], "system_roots": False}}
    escaper = {
        "name": "direct", "type": "direct_fixed", "resolver": "local",
        "egress_network_filter": {"allow": ["127.0.0.0/8", "::1/128"]},
    }  # fmt: skip
    return base_config(
        directory / "state",
        resolver=[{"name": "local", "type": "system", "hosts": {host: ["127.0.0.1"] for host in lab.hosts}}],
        escaper=[escaper],
        auditor=[{"name": "inspect", "tls_interception": trust | interception}],
    )
