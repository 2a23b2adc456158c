"""What testssl.sh says of the TLS that clients meet (TLS-13): protocols, suites, forward secrecy and tickets."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.forwarder import forwarder
from tests.e2e.running import base_config, running
from tests.e2e.webserver import webserver

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.timeout(450)]

CHECKS = ("--protocols", "--standard", "--fs", "--server-defaults")
ELSEWHERE = ("cert", "DNS_CAA", "engine_problem", "sessionresumption")
"""A CA that no public list knows, with leaves shorter than testssl's 60 days, is what an interception has; the leaf's own
tests look at what it says. Whether a session is resumed is for test_resumption.py: testssl's own client leaves right after the
handshake, when tickets of TLS 1.3 have not come yet on a busy machine, and then finds nothing to resume."""


def findings(port: int, report: Path) -> dict[str, tuple[str, str]]:
    command = ["testssl", "--quiet", "--ip", "127.0.0.1", "--warnings", "off", "--color", "0", "--jsonfile", str(report)]
    done = subprocess.run(
        [*command, *CHECKS, f"https://origin.test:{port}"], capture_output=True, text=True, timeout=400, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert report.exists(), done.stdout + done.stderr
    return {each["id"]: (each["severity"], each["finding"]) for each in json.loads(report.read_text())}


def test_tls_12_tls_13_testssl_finds_nothing_weak(tmp_path: Path) -> None:
    with webserver(tmp_path) as web:
        trusting = {"name": "inspect", "tls_interception": {"upstream_trust": {"ca_files": [str(web.ca_file)]}}}
        config = base_config(tmp_path / "state", auditor=[trusting])
        with running(config, tmp_path) as appliance:
            target = f"origin.test:{web.tls_port}"
            with forwarder(appliance.port("explicit"), target) as port:
                found = findings(port, tmp_path / "report.json")
    weak = {name: said for name, said in found.items() if said[0] not in ("OK", "INFO")}
    assert not {name: said for name, said in weak.items() if not name.startswith(ELSEWHERE)}
    for old in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
        assert found[old][1] == "not offered"
    assert found["TLS1_2"][1] == "offered"
    assert found["TLS1_3"][1].startswith("offered")
    for kind in ("NULL", "aNULL", "EXPORT", "LOW", "3DES_IDEA"):
        assert found[f"cipherlist_{kind}"][1] == "not offered", found
    assert found["PFS"][1] == "offered"
    assert {"P-521", "secp521r1", "X448"}.isdisjoint(found["PFS_ECDHE_curves"][1].split())
    assert found["TLS_session_ticket"][1].startswith("valid for 7200 seconds")
