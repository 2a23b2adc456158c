"""The lists of revoked leaves in a process that serves them; C12."""

from pathlib import Path

from appliance.app.withdrawals import Withdrawals
from appliance.telemetry.health import HealthWriter, State
from certs.revocation_folder import RevocationFolder
from certs.revoked import Revoked, add

A, B = "a" * 64, "b" * 64


def test_the_heartbeat_reads_the_lists_of_each_ca(tmp_path: Path) -> None:
    health, withdrawals = HealthWriter(tmp_path, "worker-0"), Withdrawals()
    one, other = withdrawals.of(tmp_path, A), withdrawals.of(tmp_path, B)
    assert withdrawals.of(tmp_path, A) is one
    add(RevocationFolder.of(tmp_path, A).revoked, Revoked(5, 1))
    withdrawals.sample(health)
    assert (5 in one, 5 in other) == (True, False)
    assert health._components["revoked leaves"].state is State.OK


def test_a_list_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    health, withdrawals = HealthWriter(tmp_path, "worker-0"), Withdrawals()
    withdrawals.of(tmp_path, A)
    file = RevocationFolder.of(tmp_path, A).revoked
    file.parent.mkdir(parents=True)
    file.write_text("nonsense")
    withdrawals.sample(health)
    item = health._components["revoked leaves"]
    assert item.state is State.DEGRADED
    assert str(file) in item.detail
