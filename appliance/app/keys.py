"""Which process holds which CA's key, and how the others come to their leaves."""

import socket
from pathlib import Path
from typing import Literal

from appliance.app import rotation, untrusted
from appliance.app.parts import authority, token_site
from appliance.app.paths import StatePaths
from appliance.app.publishing import publication_of
from appliance.config.ca import Ca
from appliance.config.root import AppConfig
from appliance.domain.clock import Clock, SystemClock
from appliance.telemetry.health import HealthWriter, State
from appliance.telemetry.metrics import Metrics
from certs import token_authority
from certs.authority import Authority, PublicAuthority, load, load_public
from certs.generations import Generation, Generations
from certs.mint import SPARE_KEYS, Mint, Seat
from certs.revocation_folder import RevocationFolder
from certs.signer import Signer
from certs.signing import place
from certs.signing.client import SignerClient
from certs.signing.wire import Kind
from certs.token_key import open_key
from certs.tokens import Tokens
from certs.withdrawn import Withdrawn


def needs_signer(config: AppConfig) -> bool:
    """Whether there is a signer process."""
    return any(ca.signer == "process" for ca in config.ca)


def seats(config: AppConfig, held: Literal["process", "in_process"], tokens: Tokens | None = None) -> list[Seat]:
    """The CAs whose key is held in this way, with their keys. Raises ConfigError when one must not sign."""
    tokens = tokens or Tokens()
    held_here = [ca for ca in config.ca if ca.signer == held]
    pki = StatePaths(config.state_dir).pki
    seats = [_seat(ca, each, pki) for ca in held_here for each in _with_keys(config, ca, tokens)]
    # the keys of forward-untrust CAs are nobody's treasure, yet they, too, stay with the signer where there is one
    if (held == "process") is needs_signer(config):
        seats += [Seat(each, ttl=untrusted.LEAF_TTL) for each in untrusted.authorities(config)]
    return seats


def _seat(ca: Ca, signing: Authority, pki: Path) -> Seat:
    slow = ca.pkcs11 is not None
    withdrawn = Withdrawn(RevocationFolder.of(pki, signing.fingerprint).revoked)
    return Seat(signing, ca.leaf_days, publication_of(ca, signing), ca.leaf_cache_ttl, slow, withdrawn)


def _with_keys(config: AppConfig, ca: Ca, tokens: Tokens) -> list[Authority]:
    """The CA that signs, and those beside it: the next for its first leaves, the previous for the CRL of its last."""
    beside = rotation.others(config)[ca.name]
    return [authority(config, ca.name, tokens), *(_beside(config, ca, each, tokens) for each in beside)]


def _beside(config: AppConfig, ca: Ca, generation: Generation, tokens: Tokens) -> Authority:
    paths = StatePaths(config.state_dir)
    place = Generations(paths.ca, ca.name)
    if ca.pkcs11 is None:
        return load(ca.name, place.certificate(generation), place.key(generation), SystemClock())
    site = token_site(ca, ca.pkcs11, paths, generation)
    return token_authority.load(ca.name, place.certificate(generation), open_key(tokens, site), site, SystemClock())


def public_authorities(config: AppConfig) -> dict[str, PublicAuthority]:
    """Every CA's certificate, without its key. Raises ConfigError when one cannot be used."""
    paths = StatePaths(config.state_dir)
    files = {ca.name: ca.certificate or paths.ca_certificate(ca.name) for ca in config.ca}
    return {name: load_public(name, file, SystemClock()) for name, file in files.items()}


def signer_socket(paths: StatePaths) -> socket.socket:
    """Where workers reach the signer. The parent keeps it, so that questions wait in it while the signer is started again."""
    return place.bind(paths.run)


def next_signer_socket(paths: StatePaths) -> socket.socket:
    """The same for a signer that is to take the other's place (``place.exchange``)."""
    return place.bind_next(paths.run)


class Signers:
    """Whom a worker asks for leaves: for some CAs the signer process, for others itself."""

    def __init__(self, config: AppConfig, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        run = StatePaths(config.state_dir).run
        self._client = SignerClient(lambda: place.connect(run), clock, self._told) if needs_signer(config) else None
        self.held = seats(config, "in_process")
        """The CAs whose key this very process has."""
        own = Mint(self.held, clock, spare=SPARE_KEYS)
        self.by_ca: dict[str, Signer] = {
            ca.name: self._client if self._client is not None and ca.signer == "process" else own for ca in config.ca
        }
        self.untrusted: Signer = self._client or own
        """Who signs for the forward-untrust CAs."""

    def start(self) -> None:
        """Connect before the first client comes."""
        if self._client is not None:
            self._client.start()

    def sample(self, health: HealthWriter) -> None:
        """What this worker knows of the signer. Leaves in its cache are served without one."""
        if self._client is not None:
            trouble = self._client.trouble
            health.set("signer", State.DEGRADED if trouble else State.OK, trouble)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _told(self, kind: Kind, result: str, seconds: float) -> None:
        name = kind.name.lower()
        self._metrics.inc("arcus_signer_questions_total", name, result)
        if result == "ok":
            self._metrics.observe("arcus_signer_seconds", name, value=seconds)
