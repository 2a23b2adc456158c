"""C17: servers that ask for a client certificate: presented where it belongs, and to nobody else."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from certs.client_identity import load_identity
from tests.e2e import origins, tls_peers
from tests.e2e.running import Running, base_config, running, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-client-certificates")]

HOSTS = ("mtls.test", "other.test", "blocks.test", "splices.test")


@dataclass
class Place:
    arcus: Running
    directory: Path
    trusted: origins.Authority
    clients: Path
    """The CA that signs client certificates."""
    sha256: str

    def curl(self, host: str, port: int, source: str = "127.0.0.1", ca: Path | None = None) -> Any:
        trust = ("--cacert", str(ca or self.arcus.ca()), "--interface", source, "--http1.1")
        return self.arcus.curl(*trust, f"https://{host}:{port}/")

    def strict(self, name: str, *more: str) -> Any:
        """`openssl s_server` that demands a certificate of the clients' CA."""
        demand = ("-Verify", "3", "-verify_return_error", "-CAfile", str(self.clients))
        return tls_peers.s_server(self.trusted, *demand, *more, name=name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("client-certificates")
    trusted = origins.authority(directory)
    root = trustme.CA()
    middle = root.create_child_ca()
    issued = middle.issue_cert("gateway@example.test")
    root.cert_pem.write_to_path(str(directory / "clients.pem"))
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    (directory / "own.pem").write_bytes(chain)
    (directory / "own.key").touch(0o600)
    (directory / "own.key").write_bytes(issued.private_key_pem.bytes())
    own = {
        "name": "gateway", "hosts": ["mtls.test"], "certificate": str(directory / "own.pem"),
        "private_key": str(directory / "own.key"), "tenants": ["default"],
    }  # fmt: skip
    trust = {"ca_files": [str(trusted.pem)], "system_roots": False}

    def auditor(name: str, **more: Any) -> dict[str, Any]:
        exclusions = {"shipped": False, "learn": {"mode": "off"}}
        return {
            "name": name,
            "tls_interception": {"upstream_trust": trust, "client_certificates": [own], "exclusions": exclusions} | more,
        }

    common = {"ca": "default", "escaper": "direct"}
    config = base_config(
        directory / "state",
        resolver=[{"name": "local", "type": "system", "hosts": {host: ["127.0.0.1"] for host in HOSTS}}],
        auditor=[
            auditor("inspect"),
            auditor("blocking", on_client_certificate="block"),
            auditor("splicing", on_client_certificate="splice"),
        ],
        tenant=[
            {"tenant_id": "default", "auditor": "inspect", **common},
            {"tenant_id": "b", "auditor": "inspect", "match": {"networks": ["127.0.30.0/24"]}, **common},
            {"tenant_id": "blocking", "auditor": "blocking", "match": {"networks": ["127.0.40.0/24"]}, **common},
            {"tenant_id": "splicing", "auditor": "splicing", "match": {"networks": ["127.0.50.0/24"]}, **common},
        ],
    )
    identity = load_identity("gateway", directory / "own.pem", directory / "own.key")
    with running(config, directory) as arcus:
        yield Place(arcus, directory, trusted, directory / "clients.pem", identity.sha256)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_c17_a_configured_certificate_is_presented_with_its_chain(place: Place, version: str) -> None:
    with place.strict("mtls.test", version) as port:
        got = place.curl("mtls.test", port)
        event = place.arcus.event(destination_port=port, status=200)
    assert got.status == 200, got
    assert event["server_tls"]["asked_certificate"] is True
    assert event["server_tls"]["presented_sha256"] == place.sha256
    assert "tls_failure" not in event


def test_c17_nginx_takes_it_as_well(place: Place) -> None:
    lines = (f"ssl_client_certificate {place.clients};", "ssl_verify_client on;", "ssl_verify_depth 3;")
    with tls_peers.nginx(place.trusted, place.directory / "nginx", *lines, name="mtls.test") as port:
        assert place.curl("mtls.test", port).body == b"ok"


@pytest.mark.security
@pytest.mark.parametrize(
    ("host", "source"), [("other.test", "127.0.0.1"), ("mtls.test", "127.0.30.1")], ids=["another host", "another tenant"]
)
def test_c17_it_is_presented_to_no_other_host_and_for_no_other_tenant(place: Place, host: str, source: str) -> None:
    with place.strict(host) as port:
        assert place.curl(host, port, source).status == 502
        event = place.arcus.event(destination_port=port)
    assert (event["tls_failure"], event["reason"]) == ("mtls", "upstream_client_cert")
    assert "presented_sha256" not in event["server_tls"]


@pytest.mark.security
def test_c17_a_server_that_cannot_be_verified_does_not_see_it(place: Place) -> None:
    (place.directory / "stranger").mkdir()
    stranger = origins.authority(place.directory / "stranger")
    demand = ("-Verify", "3", "-CAfile", str(place.clients), "-msg", "-tls1_2")
    with tls_peers.s_server(stranger, *demand, name="mtls.test") as port:
        assert place.curl("mtls.test", port).status == 502
        event = place.arcus.event(destination_port=port)
    assert event["tls_failure"] == "certificate"
    assert "presented_sha256" not in event["server_tls"]


def test_c17_without_one_a_server_that_would_only_like_it_is_talked_to(place: Place) -> None:
    with tls_peers.s_server(place.trusted, "-verify", "1", name="other.test") as port:
        assert place.curl("other.test", port).status == 200
        event = place.arcus.event(destination_port=port)
    assert event["server_tls"]["asked_certificate"] is True


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_c17_policy_block_refuses_a_server_that_asks(place: Place, version: str) -> None:
    with tls_peers.s_server(place.trusted, "-verify", "1", version, name="blocks.test") as port:
        got = place.curl("blocks.test", port, "127.0.40.1")
        event = place.arcus.event(destination_port=port)
    assert got.status == 502
    assert (event["tls_failure"], event["reason"]) == ("mtls", "upstream_client_cert")


def test_c17_policy_splice_relays_from_the_second_connection_on(place: Place) -> None:
    with place.strict("splices.test") as port:
        assert place.curl("splices.test", port, "127.0.50.1").status == 502
        first = place.arcus.event(destination_port=port)
        assert first["tls_failure"] == "mtls"
        command = ["curl", "--silent", "--max-time", "10", "--proxy", f"http://127.0.0.1:{place.arcus.port('explicit')}"]
        command += ["--interface", "127.0.50.1", "--cacert", str(place.trusted.pem), "--cert", str(place.directory / "own.pem")]
        command += ["--key", str(place.directory / "own.key"), "-o", "/dev/null", f"https://splices.test:{port}/"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=20)
        assert done.returncode == 0, done
        event = wait_until(lambda: place.arcus.events(destination_port=port, decrypt="splice"), 15, "the relay is recorded")[-1]
        assert event["decrypt_rule"] == "exclusion:on_client_certificate"
        # another tenant's clients are decrypted as before
        assert place.curl("splices.test", port, "127.0.30.1").status == 502
