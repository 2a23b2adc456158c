"""C19, TLS-13, TLS-14: what clients must speak, by auditor and listener, and those that name no server; with real clients."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import origins
from tests.e2e.running import Answer, Running, base_config, running, wait_until
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.security, pytest.mark.xdist_group("e2e-client-floor")]

TENANTS = {"open": 1, "ecdsa": 2, "rsa": 3, "curve": 4, "see": 5, "pass": 6, "page": 7, "alert": 8}
"""Third octet of the clients' addresses."""
SIGNED = ["ecdsa_secp256r1_sha256"], ["rsa_pss_rsae_sha256", "rsa_pss_rsae_sha384"]
NAMED = {
    "see": "intercept",
    "pass": {"action": "splice", "reason": "old printers"},
    "page": {"action": "block", "reason": "say where to"},
    "alert": {"action": "block", "page": False},
}


@dataclass
class Place:
    arcus: Running
    origin: origins.Origin
    root: Path

    def s_client(self, tenant: str, *options: str, via: str = "explicit") -> str:
        command = [
            "openssl",
            "s_client",
            "-bind",
            f"127.0.{TENANTS[tenant]}.1:0",
            "-proxy",
            f"127.0.0.1:{self.arcus.port(via)}",
        ]
        command += ["-connect", f"origin.test:{self.origin.port}", "-CAfile", str(self.arcus.ca()), *options]
        done = subprocess.run(command, input=b"", capture_output=True, timeout=30, check=False)
        return (done.stdout + done.stderr).decode(errors="replace")

    def refused(self, tenant: str, *options: str, via: str = "explicit") -> dict[str, Any]:
        """The record of a handshake that must fail."""
        known = {event["id"] for event in self.arcus.events()}
        said = self.s_client(tenant, *options, via=via)
        assert not served(said), said

        def fresh() -> list[dict[str, Any]]:
            events = self.arcus.events(tenant_id=tenant, server=via, reason="client_tls_failed")
            return [event for event in events if event["id"] not in known]

        (event,) = wait_until(fresh, 30, f"the record of {tenant} {options}")
        return event  # type: ignore[no-any-return]

    def nameless(self, tenant: str, *more: str) -> Answer:
        """By address: curl puts no server name into its hello."""
        source = ("--interface", f"127.0.{TENANTS[tenant]}.1", "--insecure")
        return self.arcus.curl(*source, *more, f"https://127.0.0.1:{self.origin.port}/", via=None if more else "explicit")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("client-floor")
    trusted = origins.authority(directory)
    with (
        origins.origin(context=trusted.context("origin.test", "127.0.0.1")) as origin,
        running(_config(directory, trusted), directory) as arcus,
    ):
        yield Place(arcus, origin, trusted.pem)


def _config(directory: Path, trusted: origins.Authority) -> dict[str, Any]:
    trust = {"upstream_trust": {"ca_files": [str(trusted.pem)], "system_roots": False}}
    asked: dict[str, dict[str, Any]] = {
        "ecdsa": {"client_tls": {"signatures": SIGNED[0]}},
        "rsa": {"client_tls": {"signatures": SIGNED[1]}},
        "curve": {"client_tls": {"groups": ["P-384"]}},
    } | {name: {"no_sni": setting} for name, setting in NAMED.items()}
    auditors = [{"name": name, "tls_interception": trust | asked.get(name, {})} for name in TENANTS]
    tenants = [
        {
            "tenant_id": name, "ca": "default", "auditor": name, "escaper": "direct",
            "match": {"networks": [f"127.0.{number}.0/24"]},
        }
        for name, number in TENANTS.items()
    ]  # fmt: skip
    server = [
        {"name": "explicit", "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}},
        {"name": "socks", "type": "socks_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}},
        {
            "name": "strict", "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"},
            "client_tls": {"min_version": "1.3", "groups": ["P-256", "P-384"]},
        },
    ]  # fmt: skip
    return base_config(directory / "state", auditor=auditors, tenant=tenants, server=server)


def served(said: str) -> bool:
    return "Verify return code: 0 (ok)" in said and "Cipher is (NONE)" not in said


def test_c19_the_leaf_has_the_key_that_the_floor_and_the_client_leave(place: Place) -> None:
    both = ("-sigalgs", "ECDSA+SHA256:RSA-PSS+SHA256:RSA-PSS+SHA384:RSA+SHA256")
    for tenant, signed in (("open", "ECDSA"), ("ecdsa", "ECDSA"), ("rsa", "RSA-PSS")):
        for version in ("-tls1_2", "-tls1_3"):
            said = place.s_client(tenant, *both, version)
            assert served(said), said
            assert f"Peer signature type: {signed}" in said, (tenant, version)


@pytest.mark.parametrize(
    ("tenant", "options", "category"),
    [
        ("ecdsa", ("-sigalgs", "RSA-PSS+SHA256:RSA+SHA256", "-tls1_3"), "cipher"),
        ("ecdsa", ("-sigalgs", "RSA-PSS+SHA256:RSA+SHA256", "-tls1_2"), "cipher"),
        ("rsa", ("-sigalgs", "ECDSA+SHA256", "-tls1_3"), "cipher"),
        ("rsa", ("-sigalgs", "RSA-PSS+SHA512", "-tls1_3"), "cipher"),
        ("rsa", ("-sigalgs", "RSA+SHA256", "-tls1_2"), "cipher"),
        ("curve", ("-groups", "X25519:P-256", "-tls1_3"), "cipher"),
        ("curve", ("-groups", "X25519:P-256", "-tls1_2"), "cipher"),
        ("open", ("-cipher", "ECDHE+AES128+SHA:@SECLEVEL=0", "-tls1_2"), "cipher"),
        ("open", ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "version"),
    ],
)
def test_c19_aud_04_a_client_below_the_floor_is_refused_and_told_apart(
    place: Place, tenant: str, options: tuple[str, ...], category: str
) -> None:
    event = place.refused(tenant, *options)
    assert (event["tls_failure"], event["tls_failure_side"]) == (category, "client"), event


def test_c19_a_client_at_the_floor_is_served(place: Place) -> None:
    assert served(place.s_client("curve", "-groups", "P-384"))
    assert served(place.s_client("rsa", "-sigalgs", "RSA-PSS+SHA384", "-tls1_3"))


def test_tls_14_the_stricter_of_listener_and_auditor_holds_for_each_part(place: Place) -> None:
    assert served(place.s_client("open", "-groups", "P-256", via="strict"))
    assert served(place.s_client("curve", "-groups", "P-384:P-256", via="strict"))
    for tenant, options, category in (
        ("open", ("-tls1_2",), "version"),
        ("open", ("-groups", "X25519"), "cipher"),
        ("curve", ("-groups", "P-256"), "cipher"),
    ):
        assert place.refused(tenant, *options, via="strict")["tls_failure"] == category, (tenant, options)


@pytest.mark.parametrize("lane", ["explicit", "socks"])
def test_c19_clients_that_name_no_server(place: Place, lane: str) -> None:
    """C19: the setting, by a CONNECT and by SOCKS; tests/e2e/test_transparent.py has it without a proxy."""
    more = ("--socks5", f"127.0.0.1:{place.arcus.port('socks')}") if lane == "socks" else ()
    got = place.nameless("see", *more)
    assert got.status == 200, got.error
    event = place.arcus.event(tenant_id="see", server=lane, kind="request")
    assert (event["decrypt"], event["decrypt_rule"], event["client_hello"].get("sni", "")) == ("intercept", "no_sni", "")
    got = place.nameless("pass", *more)
    assert got.status == 200, got.error
    event = place.arcus.event(tenant_id="pass", server=lane, kind="tunnel")
    assert (event["decrypt"], event["decrypt_rule"], event["decrypt_text"]) == ("splice", "no_sni", "old printers")
    place.origin.clear()
    got = place.nameless("page", *more)
    assert (got.status, b"say where to" in got.body) == (403, True)
    event = place.arcus.event(tenant_id="page", server=lane, reason="decrypt_blocked")
    assert (event["rule"], event["event_type"]) == ("no_sni", "block")
    assert place.nameless("alert", *more).code == 35
    event = place.arcus.event(tenant_id="alert", server=lane)
    assert (event["reason"], event["rule"], event["kind"]) == ("decrypt_blocked", "no_sni", "tunnel")
    assert not place.origin.accepted, "nobody is contacted for what is blocked"
    got = place.nameless("open", *more)
    assert (got.status, place.arcus.event(tenant_id="open", server=lane, kind="request")["decrypt_rule"]) == (200, "default")


def test_c19_a_client_that_names_one_is_not_meant(place: Place) -> None:
    for tenant in ("page", "alert"):
        assert served(place.s_client(tenant, "-servername", "origin.test")), tenant
