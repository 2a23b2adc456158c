"""TLS-12: what a worker keeps of connections to servers, from the configuration and from what the system lets it have."""

import resource
from typing import Any

import pytest

from appliance.app.idle_servers import capacity, idle_servers
from appliance.config.auditor import Auditor
from appliance.domain.clock import ManualClock
from appliance.domain.ids import TenantId
from appliance.engine.idle_servers import CAPACITY


def _auditor(**fields: Any) -> Auditor:
    return Auditor.model_validate({"name": "x", **fields})


def test_tls_12_only_tenants_that_decrypt_and_keep_have_something_here() -> None:
    off = {"kept_connections": {"enabled": False}}
    auditors = {
        "on": _auditor(tls_interception={}),
        "off": _auditor(tls_interception=off),
        "splices": _auditor(tls_interception=None),
    }
    idle = idle_servers({TenantId(name): each for name, each in auditors.items()}, lambda *_: True, ManualClock())
    assert {name: idle.keeps(TenantId(name)) for name in (*auditors, "stranger")} == {
        "on": True, "off": False, "splices": False, "stranger": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("descriptors", "kept"),
    [
        (1, 1),
        (15, 1),
        (1024, 128),
        (8 * CAPACITY - 1, CAPACITY - 1),
        (8 * CAPACITY, CAPACITY),
        (resource.RLIM_INFINITY, CAPACITY),
    ],
)
def test_tls_12_descriptors_are_for_clients_first(descriptors: int, kept: int) -> None:
    assert capacity(descriptors) == kept
