"""Where things are under ``state_dir``. Everything is created 0700 or 0600."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StatePaths:
    root: Path

    @property
    def ca(self) -> Path:
        return self.root / "ca"

    def ca_certificate(self, name: str) -> Path:
        """The certificate of a CA that we have made."""
        return self.ca / name / "ca.pem"

    @property
    def untrusted_ca(self) -> Path:
        return self.root / "untrusted-ca"

    def untrusted_certificate(self, name: str) -> Path:
        """The certificate of a forward-untrust CA."""
        return self.untrusted_ca / name / "ca.pem"

    @property
    def proceed_key(self) -> Path:
        return self.root / "keys" / "proceed"

    @property
    def patience_key(self) -> Path:
        """What the addresses of downloads are signed with."""
        return self.root / "keys" / "patience"

    @property
    def grants(self) -> Path:
        return self.root / "grants"

    @property
    def pki(self) -> Path:
        """What is published about forged certificates."""
        return self.root / "pki"

    @property
    def leaf_cache_key(self) -> Path:
        """What leaves are encrypted with where other machines can see them."""
        return self.root / "leaf-cache.key"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def bodies(self) -> Path:
        """Where bodies wait for their scan, in files without a name."""
        return self.root / "bodies"

    @property
    def quarantine(self) -> Path:
        """Infected bodies, encrypted, in a folder for each tenant."""
        return self.root / "quarantine"

    @property
    def quarantine_keys(self) -> Path:
        return self.root / "keys" / "quarantine"

    @property
    def samples(self) -> Path:
        """Bodies that were delivered, encrypted, in a folder for each tenant."""
        return self.root / "samples"

    @property
    def sample_keys(self) -> Path:
        return self.root / "keys" / "samples"

    @property
    def recalled(self) -> Path:
        """Which verdicts count no more, for the workers."""
        return self.run / "recalled.json"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def exclusions(self) -> Path:
        """What was learned not to decrypt, for the workers."""
        return self.run / "exclusions.json"

    @property
    def metrics(self) -> Path:
        return self.root / "run" / "metrics"

    @property
    def audit_db(self) -> Path:
        return self.root / "audit.db"

    @property
    def audit_lines(self) -> Path:
        return self.root / "audit.jsonl"

    @property
    def admin_token(self) -> Path:
        return self.root / "admin-token"

    @property
    def clamd(self) -> Path:
        return self.root / "clamd"

    @property
    def demo(self) -> Path:
        return self.root / "demo"

    def create(self) -> None:
        """Make the folders that exist from the start. Raises OSError naming the one that cannot be made."""
        kept = (self.pki, self.grants, self.bodies, self.quarantine, self.proceed_key.parent)
        for folder in (
            self.root,
            self.ca,
            self.spool,
            self.run,
            self.metrics,
            *kept,
        ):  # a worker sees none that is made after its start (``closed_keys``)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
