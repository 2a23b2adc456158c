"""What `arcus ca revoke` has put on the lists, kept up to date in a process that remembers leaves."""

from collections.abc import Mapping
from pathlib import Path

from appliance.telemetry.health import HealthWriter, State
from certs.revocation_folder import RevocationFolder
from certs.withdrawn import Withdrawn


class Withdrawals:
    """By the CA's fingerprint."""

    def __init__(self, by_ca: Mapping[str, Withdrawn] | None = None) -> None:
        self.by_ca = dict(by_ca or {})

    def of(self, root: Path, fingerprint: str) -> Withdrawn:
        """The one of this CA; one object however often it is asked for. ``root``: ``state_dir/pki``."""
        if fingerprint not in self.by_ca:
            self.by_ca[fingerprint] = Withdrawn(RevocationFolder.of(root, fingerprint).revoked)
        return self.by_ca[fingerprint]

    def sample(self, health: HealthWriter) -> str:
        """For the heartbeat: read what was replaced. What cannot be read, and why; empty when all of it can."""
        for each in self.by_ca.values():
            each.look()
        trouble = next((each.trouble for each in self.by_ca.values() if each.trouble), "")
        health.set("revoked leaves", State.DEGRADED if trouble else State.OK, trouble)
        return trouble
