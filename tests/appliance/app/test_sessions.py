"""What the configuration says of TLS sessions and of how little a client may speak."""

from pathlib import Path

import pytest

from appliance.app.sessions import Sessions
from appliance.config.auditor import Auditor
from appliance.config.server import Server, SocksProxy
from appliance.domain.clock import ManualClock
from appliance.domain.facts import ClientFacts
from appliance.domain.ids import TenantId
from appliance.telemetry.health import HealthWriter
from certs.server_context import ClientFloor
from certs.ticket_keys import Seed
from tests.addons.flows import A, conn

B = TenantId("b")


def auditor(**interception: object) -> Auditor:
    return Auditor.model_validate({"name": "inspect", "tls_interception": interception})


def listener(name: str, version: str) -> Server:
    node = {"type": "socks_proxy", "name": name, "listen": {"address": "127.0.0.1:1"}, "client_tls": {"min_version": version}}
    return SocksProxy.model_validate(node)


@pytest.fixture
def sessions() -> Sessions:
    servers = [listener("open", "1.2"), listener("strict", "1.3")]
    suites = ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"]
    strict = auditor(client_tls={"min_version": "1.3", "ciphers": suites}, upstream_sessions={"enabled": False})
    clock = ManualClock()
    return Sessions(
        servers, {A: auditor(), B: strict, TenantId("none"): Auditor(name="off")}, clock, Seed.new(clock).to_bytes()
    )


@pytest.mark.parametrize(("tenant", "server", "version"), [
    ("a", "open", "1.2"), ("a", "strict", "1.3"), ("b", "open", "1.3"), ("b", "strict", "1.3"), ("none", "open", "1.2"),
])  # fmt: skip
def test_tls_14_the_stricter_of_listener_and_auditor_holds(sessions: Sessions, tenant: str, server: str, version: str) -> None:
    client = ClientFacts("10.0.0.7", 40_000, server)
    floor = sessions.floor(conn(client=client, tenant=TenantId(tenant)))
    assert floor.min_version == version
    assert floor.ciphers[0] == ("ECDHE-RSA-AES256-GCM-SHA384" if tenant == "b" else "ECDHE-ECDSA-AES128-GCM-SHA256")


def test_the_default_is_what_leaves_are_made_for(sessions: Sessions) -> None:
    assert sessions.floor(conn(client=ClientFacts("10.0.0.7", 1, "open"))) == ClientFloor()


@pytest.mark.parametrize("broken", [
    {"min_version": "1.1"}, {"ciphers": []}, {"ciphers": ["AES128-SHA"]}, {"ciphers": ["DES-CBC3-SHA"]}, {"other": 1},
])  # fmt: skip
def test_tls_13_nothing_weak_can_be_configured(broken: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="client_tls"):
        auditor(client_tls=broken)


def test_health_says_whether_tickets_are_shared(sessions: Sessions, tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    class Writer(HealthWriter):
        def __init__(self) -> None:
            pass

        def set(self, name: str, state: object, detail: str = "") -> None:
            told.append((name, detail))

    sessions.sample(Writer())
    assert told == [("session_tickets", "")]
