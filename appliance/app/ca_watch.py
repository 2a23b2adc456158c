"""The CAs of the configuration, watched by a process without their keys: which generations there are, and when they end."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from appliance.app.paths import StatePaths
from appliance.config.ca import Ca
from appliance.config.root import AppConfig
from appliance.domain.clock import Clock
from appliance.domain.errors import Problem
from appliance.telemetry.health import HealthWriter, State
from appliance.telemetry.metrics import Metrics
from certs.authority import AuthorityError, read_certificates
from certs.expiry import Expiry, Outlook, expiry
from certs.generations import Generation, Generations

_STATES = {Outlook.FINE: State.OK, Outlook.WARNING: State.OK, Outlook.ALARM: State.DEGRADED, Outlook.ENDED: State.UNHEALTHY}


@dataclass(frozen=True, slots=True)
class Standing:
    """One generation of one CA."""

    ca: str
    generation: Generation
    chain: tuple[x509.Certificate, ...]
    expiry: Expiry


def standings(config: AppConfig, clock: Clock) -> Iterator[Standing]:
    """Every CA that can be read, as it is on disk now; one that cannot is not here."""
    for ca in config.ca:
        for generation in _present(config, ca):
            try:
                chain = tuple(read_certificates(_file(config, ca, generation)))
            except AuthorityError:
                continue  # whoever signs with it has said so already, and does not sign
            yield Standing(ca.name, generation, chain, expiry(chain, clock.now()))


def _present(config: AppConfig, ca: Ca) -> list[Generation]:
    if ca.certificate is not None:
        return [Generation.CURRENT]
    return Generations(StatePaths(config.state_dir).ca, ca.name).present()


def _file(config: AppConfig, ca: Ca, generation: Generation) -> Path:
    return ca.certificate or Generations(StatePaths(config.state_dir).ca, ca.name).certificate(generation)


def warnings(config: AppConfig, clock: Clock) -> list[Problem]:
    """For `arcus check`: CAs that sign and end soon, or have ended."""
    found = [each for each in standings(config, clock) if each.generation is Generation.CURRENT]
    return [Problem(f"the CA {each.ca!r} {each.expiry.text}", f"ca.{each.ca}") for each in found if each.expiry.text]


def sample(config: AppConfig, clock: Clock, metrics: Metrics, health: HealthWriter) -> None:
    """For the heartbeat: when each ends as a gauge, and those that sign as components of our health."""
    for each in standings(config, clock):
        metrics.set("arcus_ca_expiry_timestamp_seconds", each.ca, str(each.generation), value=each.expiry.end)
        if each.generation is Generation.CURRENT:
            health.set(f"ca {each.ca}", _STATES[each.expiry.outlook], each.expiry.text)
