"""C3, C17, D5: exclusions in a running appliance, with real clients that refuse our certificate."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import origins, sockets, tls_peers
from tests.e2e.running import ROOT, Running, base_config, running, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-exclusions")]

HOSTS = ("elsewhere.test", "pinned.test", "covered.test", "never.test", "asked.test", "own.test", "origin.test", "marker.test")
LEARN = {"mode": "apply", "clients": 3, "failures": 3, "spread": 0, "retest": 0, "networks": 1}


@dataclass
class Place:
    arcus: Running
    secure: origins.Origin
    directory: Path
    trusted: origins.Authority

    def curl(self, source: str, host: str, *more: str, ca: Path | None = None, port: int = 0) -> Any:
        trust = ("--cacert", str(ca or self.arcus.ca()), "--interface", source, "--http1.1")
        return self.arcus.curl(*trust, *more, f"https://{host}:{port or self.secure.port}/")

    def pinned(self, source: str, host: str) -> int:
        """A program that accepts the server's own CA only, whatever is installed: curl's exit status."""
        return int(self.curl(source, host, ca=self.trusted.pem).code)

    def three(self, network: str, host: str, rounds: int = 2) -> None:
        """Three clients that trust our CA elsewhere refuse our certificate for ``host``."""
        sources = [f"127.0.{network}.{number}" for number in (1, 2, 3)]
        for source in sources:
            assert self.curl(source, "elsewhere.test").status == 200
        for source in sources * rounds:
            assert self.pinned(source, host) == 60
        wait_until(lambda: len(self.events(host, "client_rejected_leaf")) >= 3, 15, "the refusals are recorded")

    def events(self, host: str, reason: str) -> list[dict[str, Any]]:
        return self.arcus.events(destination_host=host, reason=reason)

    def arcus_exclusion(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "appliance.cli", "exclusion", *arguments, "-c", str(self.directory / "arcus.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listed(self, **wanted: str) -> list[dict[str, Any]]:
        found = json.loads(self.arcus_exclusion("list", "--json"))
        return [each for each in found if all(each[name] == value for name, value in wanted.items())]

    def api(self, path: str, method: str = "GET") -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.arcus.admin_port}/api/v1/exclusions{path}".replace("/exclusions/..", "")
        token = next(self.directory.glob("*.log")).read_text().partition("token")[2].split()
        secret = next(word for word in token if len(word) > 20)
        request = urllib.request.Request(url, method=method, headers={"Authorization": f"Bearer {secret}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("exclusions")
    trusted = origins.authority(directory)
    trust = {"ca_files": [str(trusted.pem)], "system_roots": False}
    own = [{"host": "own.test", "reason": "the works council asked for it"}]

    def auditor(name: str, **learn: Any) -> dict[str, Any]:
        exclusions = {"shipped": False, "hosts": own, "never": ["never.test"], "learn": LEARN | learn}
        return {"name": name, "tls_interception": {"upstream_trust": trust, "exclusions": exclusions}}

    upload = {"name": "no-upload", "config": {"hosts": {"exact": ["covered.test"]}, "path_regex": ["/upload"]}}
    common = {"ca": "default", "escaper": "direct"}
    config = base_config(
        directory / "state",
        resolver=[{"name": "local", "type": "system", "hosts": {host: ["127.0.0.1"] for host in HOSTS}}],
        auditor=[auditor("apply"), auditor("propose", mode="propose")],
        tenant=[
            {"tenant_id": "default", "auditor": "apply", "policies": [upload], **common},
            {"tenant_id": "b", "auditor": "apply", "match": {"networks": ["127.0.30.0/24"]}, **common},
            {"tenant_id": "careful", "auditor": "propose", "match": {"networks": ["127.0.40.0/24"]}, **common},
        ],
    )
    with origins.origin(context=trusted.context(*HOSTS)) as secure, running(config, directory) as arcus:
        yield Place(arcus, secure, directory, trusted)


def test_d5_three_pinned_clients_get_through_and_nobody_else_does(place: Place) -> None:
    """D5, C3: the program is spliced, others are still intercepted, and so are other tenants' clients."""
    place.three("20", "pinned.test")
    wait_until(lambda: place.pinned("127.0.20.9", "pinned.test") == 0, 20, "the program gets through")
    (record,) = place.listed(host="pinned.test", state="active")
    event = place.arcus.event(destination_host="pinned.test", decrypt="splice")
    assert event["decrypt_rule"] == f"exclusion:{record['id']}"
    assert f"/exclusions/{record['id']}" in event["decrypt_text"]
    assert record["fingerprint"] == event["client_hello"]["ja4"]
    assert record["evidence"]["clients"] == ["127.0.20.1", "127.0.20.2", "127.0.20.3"]
    # another program from the same address
    with (
        sockets.connect(place.arcus.port("explicit"), f"pinned.test:{place.secure.port}", source="127.0.20.1") as tunnel,
        sockets.tls(tunnel, "pinned.test", place.arcus.ca()) as sock,
    ):
        assert sock.version() == "TLSv1.3"
    # the same program in another tenant
    assert place.pinned("127.0.30.1", "pinned.test") == 60


@pytest.mark.security
def test_d5_one_client_with_many_alerts_earns_nothing(place: Place) -> None:
    assert place.curl("127.0.21.1", "elsewhere.test").status == 200
    for _ in range(8):
        assert place.pinned("127.0.21.1", "origin.test") == 60
    wait_until(lambda: len(place.events("origin.test", "client_rejected_leaf")) >= 8, 15, "all are recorded")
    # what comes after it in the stream has been judged: so has it
    place.three("22", "marker.test", rounds=1)
    wait_until(lambda: place.listed(host="marker.test"), 20, "the stream was judged")
    assert place.listed(host="origin.test") == []
    assert place.pinned("127.0.21.1", "origin.test") == 60


@pytest.mark.security
@pytest.mark.parametrize("host", ["covered.test", "never.test"])
def test_d5_rules_and_the_never_list_are_stronger(place: Place, host: str) -> None:
    place.three("23", host)

    assert place.listed(host=host) == []
    assert place.pinned("127.0.23.1", host) == 60


def test_d5_a_proposal_waits_for_approval_and_ends_with_removal(place: Place) -> None:
    place.three("40", "pinned.test")
    (record,) = wait_until(lambda: place.listed(tenant="careful", state="proposed"), 20, "a proposal")
    assert place.pinned("127.0.40.1", "pinned.test") == 60
    approved = place.api(f"/{record['id']}/approve", "POST")
    assert (approved["state"], approved["decided_by"]) == ("active", "admin from 127.0.0.1")
    wait_until(lambda: place.pinned("127.0.40.1", "pinned.test") == 0, 20, "the program gets through")
    assert "removed" in place.arcus_exclusion("remove", record["id"])
    wait_until(lambda: place.pinned("127.0.40.1", "pinned.test") == 60, 20, "it is intercepted again")
    history = place.api(f"/{record['id']}")["history"]
    assert [entry["action"] for entry in history] == ["proposed", "approved", "removed"]


def test_aud_04_decisions_are_in_the_audit_stream_wherever_it_is_read(place: Place) -> None:
    """D5: by the command line and by the API, in the JSON lines, by a query and in the list of the API."""
    added = place.arcus_exclusion("add", "decided.test", "--tenant", "careful", "--reason", "ticket 4711").partition(":")[0]
    place.arcus_exclusion("extend", added, "--for", "2d", "--reason", "ticket 4712")
    place.api(f"/{added}/remove", "POST")
    wait_until(lambda: len(place.arcus.events(kind="decision", destination_host="decided.test")) == 3, 30, "they are told")
    events = place.arcus.events(kind="decision", destination_host="decided.test")
    told = [(event["act"]["verb"], event["act"]["via"], event["act"].get("note", ""), event["source_ip"]) for event in events]
    assert told == [
        ("added", "command line", "ticket 4711", ""),
        ("extended", "command line", "ticket 4712", ""),
        ("removed", "web", "", "127.0.0.1"),
    ]
    config = str(place.directory / "arcus.yaml")
    command = [sys.executable, "-m", "appliance.cli", "audit", "query", "kind: decision and act.verb: removed", "-c", config]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert "exclusion decided.test removed by admin from 127.0.0.1" in done.stdout, done.stderr
    found = place.api("/../audit?q=act.subject%3A" + added)["events"]
    assert {event["id"] for event in found} == {event["id"] for event in events}
    history = place.api(f"/{added}")["history"]
    assert [entry["event_id"] for entry in history] == [event["id"] for event in events]


def test_c3_added_at_the_command_line(place: Place) -> None:
    place.arcus_exclusion("add", "origin.test", "--tenant", "b", "--reason", "vendor confirmed", "--for", "1h")
    wait_until(lambda: place.pinned("127.0.30.2", "origin.test") == 0, 20, "it holds")
    assert place.pinned("127.0.20.2", "origin.test") == 60, "for this tenant only"


def test_c3_a_tenant_s_own_list(place: Place) -> None:
    assert place.pinned("127.0.20.1", "own.test") == 0
    event = place.arcus.event(destination_host="own.test")
    assert (event["decrypt"], event["decrypt_rule"]) == ("splice", "exclusion:own.test")
    assert event["decrypt_text"] == "the works council asked for it"


def test_c17_a_server_that_asks_for_a_certificate_is_learned(place: Place) -> None:
    with tls_peers.s_server(place.trusted, "-Verify", "1", "-verify_return_error", name="asked.test") as port:
        for number in (1, 2, 3):
            assert place.curl(f"127.0.26.{number}", "asked.test", port=port).status == 502
        wait_until(lambda: place.listed(host="asked.test", kind="mtls", state="active"), 20, "it is learned")
        seen = wait_until(lambda: _spliced(place, port), 20, "it is spliced")
    assert seen


def _spliced(place: Place, port: int) -> list[dict[str, Any]]:
    place.curl("127.0.26.9", "asked.test", port=port)
    return place.arcus.events(destination_port=port, decrypt="splice")
