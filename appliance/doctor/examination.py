"""All examinations, in the order in which a person would ask."""

import asyncio
from collections.abc import Callable, Iterator

from appliance.config.root import AppConfig
from appliance.doctor import (
    coverage,
    health,
    identities,
    learning,
    parts,
    ports,
    resolving,
    scanning,
    shared_leaves,
    signing,
    state,
)
from appliance.doctor.finding import Finding, fail


def run(config: AppConfig) -> list[Finding]:
    """Examine; changes nothing. An examination that itself breaks is a failure, not the end of the others."""
    return [finding for name, examine in _EXAMINATIONS.items() for finding in _guarded(name, examine, config)]


def _guarded(name: str, examine: Callable[[AppConfig], Iterator[Finding]], config: AppConfig) -> Iterator[Finding]:
    try:
        yield from examine(config)
    except Exception as error:
        yield fail(name, f"could not be examined: {type(error).__name__}: {error}")


def _scanning(config: AppConfig) -> Iterator[Finding]:
    yield from asyncio.run(scanning.examine(config))


_EXAMINATIONS: dict[str, Callable[[AppConfig], Iterator[Finding]]] = {
    "python": parts.python,
    "mitmproxy": parts.mitmproxy,
    "state directory": state.directory,
    "CA": state.authorities,
    "CA generations": identities.generations,
    "signer": signing.examine,
    "client certificates": identities.client_certificates,
    "redis": shared_leaves.examine,
    "learning": learning.examine,
    "coverage": coverage.examine,
    "disk": state.disk,
    "ports": ports.examine,
    "health": health.examine,
    "HTTPS records": resolving.examine,
    "scanning": _scanning,
}
