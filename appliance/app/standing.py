"""What runs: the configuration, where it came from, and which of it each kind of process depends on."""

from dataclasses import dataclass
from pathlib import Path

from appliance.app import rotation, untrusted
from appliance.app.keys import needs_signer, public_authorities
from appliance.app.parts import drain_seconds
from appliance.config.root import AppConfig

KINDS = ("signer", "icap", "demo", "worker", "admin")
"""In the order in which they come up."""

_TRAFFIC = {"resolver", "escaper", "host_list", "user_group", "server", "portal", "workers", "reload"}
_BLIND_TO = {
    "signer": {*_TRAFFIC, "icap_server", "redis", "admin", "audit", "demo_origin", "quarantine", "retro"},
    "icap": {*_TRAFFIC, "ca", "auditor", "tenant", "redis", "admin", "audit", "demo_origin", "quarantine", "retro"},
    "demo": {*_TRAFFIC, "ca", "auditor", "tenant", "redis", "admin", "audit", "icap_server", "quarantine", "retro"},
    "admin": {"resolver", "escaper", "user_group", "redis", "demo_origin", "reload"},
    "worker": set[str](),
}
"""The sections of the configuration that a kind of process never looks at. What is not listed has it replaced, so that a new
section is on the safe side."""
_KNOWS_AUTHORITIES = ("signer", "admin")


@dataclass(frozen=True, slots=True)
class Standing:
    """A configuration that runs, or is to run. ``number`` is its generation, ``since`` when it was loaded, in seconds since the
    epoch."""

    declared: AppConfig
    """As the file says it."""
    config: AppConfig
    """As the processes get it: it says which clamd was found."""
    file: Path
    sha256: str
    number: int
    since: float
    authorities: tuple[str, ...]
    """The fingerprints of all CAs, those beside the current ones included: what ``arcus ca`` changes."""

    @property
    def kinds(self) -> list[str]:
        """The kinds of process that it asks for."""
        config = self.config
        asked = {
            "signer": needs_signer(config),
            "icap": config.icap_server is not None,
            "demo": config.demo_origin is not None,
            "worker": True,
            "admin": config.admin is not None,
        }
        return [kind for kind in KINDS if asked[kind]]

    def same_for(self, kind: str, other: "Standing") -> bool:
        """Whether processes of this kind would not notice the other one. Workers are the ones who serve clients: files that the
        configuration names may have changed as well, so they always do."""
        if kind == "worker" or (kind in _KNOWS_AUTHORITIES and self.authorities != other.authorities):
            return False
        seen = [name for name in AppConfig.model_fields if name not in _BLIND_TO[kind]]
        same = all(getattr(self.config, name) == getattr(other.config, name) for name in seen)
        return same and drain_seconds(self.config) == drain_seconds(other.config)


def authorities(config: AppConfig) -> tuple[str, ...]:
    """For ``Standing``. Raises ConfigError when a CA cannot be used."""
    beside = [
        f"{name} {which} {ca.fingerprint}" for name, found in rotation.others(config).items() for which, ca in found.items()
    ]
    current = [f"{name} {ca.fingerprint}" for name, ca in public_authorities(config).items()]
    bad = [f"{name} {ca.fingerprint}" for name, ca in untrusted.public_authorities(config).items()]
    return tuple(sorted([*current, *beside, *bad]))
