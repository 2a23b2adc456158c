"""``python -m bench.grade``: what sslyze and testssl.sh say of the TLS that clients meet, and the letter that comes of it.

An appliance with default settings intercepts a server; both tools look at what a client would see, and believe its CA. sslyze
lives in a virtual environment of its own (``build/sslyze``), which is made when it is missing, for it wants other versions of
our libraries. testssl.sh is the one in the PATH or ``--testssl``; from 3.2 on it has a letter of its own. Exit status: 0 grade
A and nothing found, 1 otherwise, 2 something is missing.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import say
from bench.rating import Rating, rate
from tests.e2e.forwarder import forwarder
from tests.e2e.running import base_config, running
from tests.e2e.webserver import webserver

SSLYZE = "sslyze==6.3.1"
FOLDER = Path(__file__).resolve().parent.parent / "build" / "sslyze"
HOST = "origin.test"
TESTSSL_TIME = 1800
EXPECTED = ("cert", "DNS_CAA", "engine_problem", "HTTP_", "HSTS", "HPKP", "security_headers", "cookie", "banner", "BREACH")
"""What is about the certificate of a CA that no public list knows, or about the origin's HTTP."""


@dataclass(frozen=True, slots=True)
class Stage:
    """``port`` leads through the appliance to the server; ``ca`` is what its clients believe."""

    port: int
    ca: Path


@dataclass(frozen=True, slots=True)
class Report:
    compliant: bool
    rating: Rating
    testssl: Sequence[dict[str, str]]
    """Its findings; none when it is not there."""

    @property
    def weak(self) -> list[dict[str, str]]:
        """What testssl holds against the listener."""
        sound = ("OK", "INFO", "DEBUG", "WARN")
        return [each for each in self.testssl if each["severity"] not in sound and not each["id"].startswith(EXPECTED)]

    @property
    def unseen(self) -> list[str]:
        """What testssl could not look at."""
        return [each["id"] for each in self.testssl if each["severity"] == "WARN" and not each["id"].startswith(EXPECTED)]

    @property
    def own_letter(self) -> str:
        return next((each["finding"] for each in self.testssl if each["id"] == "overall_grade"), "")

    @property
    def good(self) -> bool:
        return self.compliant and self.rating.letter == "A" and not self.weak and self.own_letter in ("", "A", "A+")


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """An appliance between us and a server."""
    with webserver(folder) as web:
        trusting = {"name": "inspect", "tls_interception": {"upstream_trust": {"ca_files": [str(web.ca_file)]}}}
        config = base_config(folder / "state", auditor=[trusting])
        with running(config, folder) as appliance, forwarder(appliance.port("explicit"), f"{HOST}:{web.tls_port}") as port:
            yield Stage(port, appliance.ca())


def sslyze() -> Path:
    """The command; set up first when it is not there. Raises CalledProcessError."""
    command = FOLDER / "bin" / "sslyze"
    if not command.exists():
        say(f"bench: setting up {SSLYZE} in {FOLDER}")
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
        subprocess.run([str(FOLDER / "bin" / "python"), "-m", "pip", "install", "--quiet", SSLYZE], check=True)
    return command


def scan(command: Path, at: Stage, folder: Path) -> tuple[bool, dict[str, Any]]:
    """Whether sslyze finds Mozilla's intermediate configuration kept, and what it found."""
    report = folder / "sslyze.json"
    options = [f"--sni={HOST}", f"--certinfo_ca_file={at.ca}", "--mozilla_config=intermediate", f"--json_out={report}"]
    done = subprocess.run([command, *options, f"127.0.0.1:{at.port}"], capture_output=True, text=True, timeout=600, check=False)
    server = json.loads(report.read_text())["server_scan_results"][0]
    return done.returncode == 0 and "OK - Compliant" in done.stdout, server["scan_result"]


def findings(command: str, at: Stage, folder: Path) -> list[dict[str, str]]:
    report = folder / "testssl.json"
    options = ["--quiet", "--ip", "127.0.0.1", "--warnings", "off", "--color", "0", "--add-ca", str(at.ca)]
    subprocess.run(
        [command, *options, "--jsonfile", str(report), f"https://{HOST}:{at.port}"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=TESTSSL_TIME, check=False,
    )  # fmt: skip
    return list(json.loads(report.read_text()))


def table(report: Report) -> str:
    rating = report.rating
    rows = [
        ("sslyze: Mozilla's intermediate configuration", "kept" if report.compliant else "NOT kept"),
        ("protocols (30 %)", f"{rating.protocol:.0f}"),
        ("key exchange (30 %)", f"{rating.key:.0f}"),
        ("ciphers (40 %)", f"{rating.cipher:.0f}"),
        ("score", f"{rating.score:.0f}"),
        ("letter by SSL Labs' guide (2009r)", "; ".join([rating.letter, *rating.caps])),
    ]
    if report.testssl:
        weak = "; ".join(f"{each['id']}: {each['finding']}" for each in report.weak)
        rows.append(("testssl.sh: held against it", weak or "nothing"))
        rows.append(("testssl.sh: could not look at", ", ".join(report.unseen) or "nothing"))
        rows.append(("testssl.sh: its own letter", report.own_letter or "none before version 3.2"))
    return "\n".join(["| clients meet | |", "|---|---|", *(f"| {name} | {said} |" for name, said in rows)])


def main() -> int:
    options = _options()
    try:
        command = sslyze()
    except subprocess.CalledProcessError as error:
        say(f"bench: sslyze cannot be set up: {error}")
        return 2
    with tempfile.TemporaryDirectory(prefix="arcus-bench-grade-") as name:
        folder = Path(name)
        with stage(folder) as at:
            compliant, found = scan(command, at, folder)
            other = findings(options.testssl, at, folder) if options.testssl else []
    report = Report(compliant, rate(found), other)
    print(table(report))
    return 0 if report.good else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.grade", description="The grade of the TLS that clients meet.")
    found = shutil.which("testssl") or shutil.which("testssl.sh") or ""
    parser.add_argument("--testssl", default=found, metavar="PATH", help="testssl.sh; an empty word leaves it out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
