"""Parts that more than one kind of process needs, built from the configuration."""

import asyncio
import os
import signal
from collections.abc import Iterable

from appliance.app.departure import Departure
from appliance.app.paths import StatePaths
from appliance.config.ca import Ca
from appliance.config.pkcs11 import Pkcs11
from appliance.config.root import AppConfig
from appliance.config.values import Listen
from appliance.domain.target import Target
from certs import token_authority
from certs.authority import Authority, load_or_create
from certs.generations import Generation, Generations
from certs.tokens import Tokens, TokenSite


def authority(config: AppConfig, name: str, tokens: Tokens | None = None) -> Authority:
    """The CA of this name, made when it does not exist. Raises ConfigError when it cannot be used."""
    ca = next(each for each in config.ca if each.name == name)
    return _authority(ca, StatePaths(config.state_dir), tokens or Tokens())


def authorities(config: AppConfig, tokens: Tokens | None = None) -> dict[str, Authority]:
    tokens = tokens or Tokens()
    paths = StatePaths(config.state_dir)
    return {ca.name: _authority(ca, paths, tokens) for ca in config.ca}


def _authority(ca: Ca, paths: StatePaths, tokens: Tokens) -> Authority:
    if ca.pkcs11 is not None:
        site = token_site(ca, ca.pkcs11, paths)
        return token_authority.load_or_create(paths.ca, ca.name, ca.common_name, ca.validity_days, site, tokens, ca.certificate)
    return load_or_create(
        paths.ca, ca.name, ca.common_name, ca.key, ca.validity_days,
        certificate=ca.certificate, private_key=ca.private_key,
    )  # fmt: skip


def token_site(ca: Ca, node: Pkcs11, paths: StatePaths, generation: Generation = Generation.CURRENT) -> TokenSite:
    """Where the key of one generation is: all are in one token, each under a label of its own."""
    label = "" if ca.certificate is not None else Generations(paths.ca, ca.name).label(generation)
    return TokenSite(node.module, node.token, label or node.label, node.pin_file, node.environment)


def own_listeners(config: AppConfig) -> list[Target]:
    """Every address that the appliance itself listens on, and its Redis: no client may be sent there."""
    listens: list[Listen] = [server.listen for server in config.server]
    if config.icap_server is not None:
        listens += config.icap_server.listens.values()
    if config.admin is not None:
        listens.append(config.admin.listen)
    redis = config.redis.address if config.redis is not None else None
    return [listen.address for listen in listens] + ([redis] if redis else [])


def worker_count(config: AppConfig) -> int:
    """How many workers the configuration asks for."""
    return (os.cpu_count() or 1) if config.workers == "auto" else config.workers


def drain_seconds(config: AppConfig) -> float:
    """How long open tasks may take after SIGTERM: the longest that any listener allows."""
    return max((server.timeouts.drain for server in config.server), default=0.0)


def departure(config: AppConfig) -> Departure:
    """How this child process is to leave, as the configuration has it."""
    return Departure(drain_seconds(config), config.reload.drain)


def stop_on(signals: Iterable[signal.Signals]) -> tuple[asyncio.Event, list[signal.Signals]]:
    """An event that any of the signals sets, and the list of those received."""
    stop = asyncio.Event()
    received: list[signal.Signals] = []

    def note(which: signal.Signals) -> None:
        received.append(which)
        stop.set()

    loop = asyncio.get_running_loop()
    for each in signals:
        loop.add_signal_handler(each, note, each)
    return stop, received
