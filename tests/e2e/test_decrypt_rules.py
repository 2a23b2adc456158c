"""C1, C27, D9: the decryption rulebase on real connections, with what the origin shows before anybody decides."""

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.e2e import origins, sockets
from tests.e2e.counters import rises
from tests.e2e.running import ROOT, Answer, Running, base_config, running
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-rules")]

HOSTS = (
    "plain.test",
    "bank.test",
    "shut.test",
    "cut.test",
    "private.test",
    "mtls.test",
    "old.test",
    "far.test",
    "tried.test",
    "denied.test",
)


@dataclass
class Place:
    arcus: Running
    plain: origins.Origin
    private: origins.Origin
    mtls: origins.Origin
    old: origins.Origin
    directory: Path
    client: tuple[Path, Path]

    def curl(self, host: str, path: str, *more: str | Path, port: int = 0) -> Answer:
        return self.arcus.curl("--cacert", self.arcus.ca(), *more, f"https://{host}:{port or self.plain.port}{path}")

    def shown(self, host: str, port: int, source: str = "") -> bytes:
        """The certificate that a client sees, unverified."""
        with (
            sockets.connect(self.arcus.port("explicit"), f"{host}:{port}", source=source) as tunnel,
            sockets.tls(tunnel, host, None) as sock,
        ):
            return sock.getpeercert(binary_form=True) or b""


def real(port: int) -> bytes:
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("rules")
    trusted = origins.authority(directory)
    bank = trustme.CA(organization_name="Example Bank Trust")
    bank.cert_pem.write_to_path(str(directory / "bank.pem"))
    private = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    bank.issue_cert("private.test").configure_cert(private)
    mtls = trusted.context("mtls.test")
    mtls.verify_mode = ssl.CERT_REQUIRED
    mtls.load_verify_locations(cafile=str(trusted.pem))
    with (
        origins.origin(context=trusted.context(*HOSTS, "127.0.0.1")) as plain,
        origins.origin(context=private) as secret,
        origins.origin(context=mtls) as asking,
        origins.origin(context=trusted.context("old.test", expired=True)) as old,
        running(_config(directory, trusted), directory) as arcus,
    ):
        yield Place(arcus, plain, secret, asking, old, directory, trusted.files("client.test"))


def _config(directory: Path, trusted: origins.Authority) -> dict[str, Any]:
    (directory / "banks.txt").write_text("# from the finance team\n.bank.test\n")
    issuer, asks = {"issuer": ["Example Bank Trust"]}, {"asks_client_certificate": True}
    rules = [
        {"name": "no-banking", "action": "block", "host_lists": ["banks"], "networks": ["127.0.9.0/24"], "reason": "Not here"},
        {"name": "banking", "action": "splice", "host_lists": ["banks"]},
        {"name": "page", "action": "block", "hosts": ["shut.test"], "reason": "Works council, 3 May"},
        {"name": "alert", "action": "block", "hosts": ["cut.test"], "page": False},
        {"name": "nameless", "action": "block", "sni": "absent", "reason": "no server name"},
        {"name": "far", "action": "block", "destinations": ["127.0.0.3/32"], "reason": "far away"},
        {"name": "never", "action": "block", "times": [{"zone": "Asia/Tokyo"}], "hosts": ["tried.test"], "share": "0%"},
        {"name": "half", "action": "splice", "hosts": ["tried.test"], "share": "50%"},
        {"name": "soon", "action": "block", "hosts": ["tried.test"], "mode": "monitor"},
        {"name": "bank-trust", "action": "splice", "hosts": ["private.test"], "certificate": issuer},
        {"name": "asks", "action": "splice", "hosts": ["mtls.test", "denied.test"], "certificate": asks},
        {
            "name": "old", "action": "block", "hosts": ["old.test"], "reason": "out of date",
            "certificate": {"verdicts": ["upstream_cert_expired"]},
        },
    ]  # fmt: skip
    roots = [str(trusted.pem), str(directory / "bank.pem")]
    interception = {"rules": rules, "upstream_trust": {"ca_files": roots, "system_roots": False}}
    policies = [
        {"name": "no-denied", "config": {"hosts": {"exact": ["denied.test"]}}},
        {"name": "try-access", "mode": "monitor", "config": {"hosts": {"exact": ["plain.test"]}}},
    ]
    hosts = {host: ["127.0.0.1"] for host in (*HOSTS, "www.bank.test")} | {"far.test": ["127.0.0.3", "127.0.0.1"]}
    tenant = {"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct", "policies": policies}
    return base_config(
        directory / "state",
        resolver=[{"name": "local", "type": "system", "hosts": hosts}],
        host_list=[{"name": "banks", "hosts": ["bank.test"], "file": str(directory / "banks.txt")}],
        auditor=[{"name": "inspect", "tls_interception": interception}],
        tenant=[tenant],
        server=[{"name": "explicit", "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}}],
    )


def test_c1_a_list_splices_a_category_but_blocks_it_for_one_network(place: Place) -> None:
    assert place.shown("www.bank.test", place.plain.port) == real(place.plain.port)
    assert place.arcus.event(destination_host="www.bank.test", kind="tunnel")["decrypt_rule"] == "banking"
    got = place.curl("bank.test", "/net", "--interface", "127.0.9.1")
    assert (got.status, b"no-banking" in got.body, b"Not here" in got.body) == (403, True, True)


def test_c1_c5_a_block_has_a_page_that_names_rule_and_reason(place: Place) -> None:
    place.plain.clear()
    got = place.curl("shut.test", "/page", "-H", "Accept: text/html")
    assert (got.status, got.headers["x-arcus-reason"]) == (403, "decrypt_blocked")
    assert b"Works council, 3 May" in got.body
    event = place.arcus.event(url=f"https://shut.test:{place.plain.port}/page")
    assert (event["rule"], event["reason"], event["detail"], event["decrypt"], event["level"], event["event_type"]) == (
        "page", "decrypt_blocked", "Works council, 3 May", "block", "decrypt", "block",
    )  # fmt: skip
    assert not place.plain.accepted, "nobody is contacted for a page of ours"


def test_c1_a_client_that_does_not_take_the_page_is_recorded_as_blocked(place: Place) -> None:
    assert place.arcus.curl(f"https://shut.test:{place.plain.port}/untrusting").code == 60
    event = place.arcus.event(kind="connection", destination_host="shut.test")
    assert (event["reason"], event["rule"]) == ("decrypt_blocked", "page")
    assert event["detail"].startswith("Works council, 3 May: client_")


def test_c1_a_block_without_a_page_is_an_alert(place: Place) -> None:
    got = place.curl("cut.test", "/")
    assert (got.code, got.status) == (35, 0)
    event = place.arcus.event(destination_host="cut.test")
    assert (event["reason"], event["rule"], event["kind"]) == ("decrypt_blocked", "alert", "tunnel")


def test_c19_a_client_without_a_server_name(place: Place) -> None:
    got = place.curl("127.0.0.1", "/nameless")
    assert (got.status, b"no server name" in got.body) == (403, True)


def test_c1_the_address_that_a_name_stands_for(place: Place) -> None:
    got = place.curl("far.test", "/far")
    assert (got.status, b"far away" in got.body) == (403, True)


def test_c1_the_issuer_of_the_origins_certificate_decides(place: Place) -> None:
    """bank-trust: the server is looked at first, then spliced: the client sees the origin's own certificate."""
    place.private.clear()
    assert place.shown("private.test", place.private.port) == real(place.private.port)
    event = place.arcus.event(destination_host="private.test", decrypt_rule="bank-trust")
    assert event["survey"]["verdict"] == "ok"
    assert "Example Bank Trust" in event["survey"]["certificate"]["issuer"]
    # the same name at a server of another authority is decrypted
    assert place.curl("private.test", "/other").status in (200, 502)
    assert place.arcus.event(destination_host="private.test", destination_port=place.plain.port)["decrypt"] == "intercept"


def test_c1_the_look_is_remembered(place: Place) -> None:
    place.shown("private.test", place.private.port)
    place.private.clear()
    for _ in range(3):
        place.shown("private.test", place.private.port)
    assert place.private.accepted == 3
    rises(place.arcus, 2, "arcus_survey_total", "hit")


def test_c17_an_origin_that_asks_for_a_client_certificate_is_spliced(place: Place) -> None:
    certificate, key = place.client
    answer = place.arcus.curl(
        "--cacert",
        place.directory / "origin-ca.pem",
        "--cert",
        certificate,
        "--key",
        key,
        f"https://mtls.test:{place.mtls.port}/in",
    )
    assert (answer.status, answer.body) == (200, b"ok")
    event = place.arcus.event(destination_host="mtls.test")
    assert (event["decrypt_rule"], event["survey"]["asks_client_certificate"]) == ("asks", True)


def test_c2_an_expired_certificate_is_blocked_by_its_verdict(place: Place) -> None:
    got = place.curl("old.test", "/old", port=place.old.port)
    assert (got.status, b"out of date" in got.body) == (403, True)
    assert place.arcus.event(destination_host="old.test")["survey"]["verdict"] == "upstream_cert_expired"


@pytest.mark.security
def test_c1_a_server_that_cannot_be_looked_at_is_not_let_past_a_block(place: Place) -> None:
    port = free_port()
    assert place.curl("old.test", "/gone", port=port).status == 403
    event = place.arcus.event(destination_host="old.test", destination_port=port)
    assert event["detail"] == "out of date; certificate not known (connect_refused)"


@pytest.mark.security
def test_c1_nobody_is_looked_at_for_a_destination_that_access_refuses(place: Place) -> None:
    place.plain.clear()
    assert place.curl("denied.test", "/denied").status == 403
    event = place.arcus.event(destination_host="denied.test")
    assert (event["reason"], event["rule"], "survey" in event) == ("policy_blocked", "no-denied", False)
    assert not place.plain.accepted


def test_c27_monitor_mode_of_both_kinds_of_rules(place: Place) -> None:
    assert place.curl("plain.test", "/seen").status == 200
    assert place.arcus.event(url=f"https://plain.test:{place.plain.port}/seen")["would"] == ["access try-access: block"]
    rises(place.arcus, 0, "arcus_monitored_total", "access", "try-access", "block")
    outside = next(f"127.0.1.{n}" for n in range(1, 100) if not _half(f"127.0.1.{n}"))
    assert place.curl("tried.test", "/tried", "--interface", outside).status == 200
    event = place.arcus.event(url=f"https://tried.test:{place.plain.port}/tried")
    assert (event["would"], event["staged"]) == (["decrypt soon: block"], ["never: not in 0%", "half: not in 50%"])


def _half(ip: str) -> bool:
    from appliance.policy.staging import among

    return among(0.5, "half", ip, None)


def test_d9_half_of_the_clients_get_the_rule_and_both_arms_are_recorded(place: Place) -> None:
    for number in range(1, 9):
        source = f"127.0.2.{number}"
        spliced = place.shown("tried.test", place.plain.port, source) == real(place.plain.port)
        assert spliced is _half(source)
        if spliced:
            assert place.arcus.event(source_ip=source)["staged"] == ["never: not in 0%", "half: in 50%"]


def test_c22_explain_looks_as_live_traffic_does(place: Place) -> None:
    """The same rule as for the connection, by a look of its own; without --look the certificate is not known."""
    command = [sys.executable, "-m", "appliance.cli", "explain", f"https://private.test:{place.private.port}/"]
    command += ["--client", "192.0.2.1", "--address", "127.0.0.1", "-c", str(place.directory / "arcus.yaml"), "--json"]
    answers = {}
    for more in ([], ["--look"]):
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT)
        answers[bool(more)] = json.loads(done.stdout)
    assert (answers[False]["decrypt"], answers[True]["decrypt"]) == ("intercept", "splice")
    assert any("Example Bank Trust" in step["why"] for step in answers[True]["steps"])
