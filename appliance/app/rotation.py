"""A CA that is being replaced: who is offered which certificate, and who is already served by the next one.

What is on disk at the start counts: `arcus ca rotate` and `arcus ca switch` take effect with the next one.
"""

import logging
from collections.abc import Mapping

from addons.overlap import Overlap
from appliance.app.paths import StatePaths
from appliance.app.ready_clients import ReadyClients
from appliance.config.ca import Ca
from appliance.config.root import AppConfig
from appliance.domain.clock import SystemClock
from appliance.domain.ids import TenantId
from certs.authority import AuthorityError, PublicAuthority, load_public
from certs.cache import LeafCache
from certs.generations import Generation, Generations

logger = logging.getLogger(__name__)

type Others = Mapping[str, Mapping[Generation, PublicAuthority]]


def readable(config: AppConfig) -> dict[str, PublicAuthority]:
    """The CAs that sign now, by name; one that cannot be used is left out, and said so."""
    paths = StatePaths(config.state_dir)
    found: dict[str, PublicAuthority] = {}
    for ca in config.ca:
        try:
            found[ca.name] = load_public(ca.name, ca.certificate or paths.ca_certificate(ca.name), SystemClock())
        except (AuthorityError, OSError) as error:
            logger.error("the certificate of a CA cannot be shown", extra={"ca": ca.name, "error": str(error)})
    return found


def others(config: AppConfig) -> dict[str, dict[Generation, PublicAuthority]]:
    """By name of the CA: what there is beside the current one. One that cannot be used is left out, and said so."""
    return {ca.name: _others(config, ca) for ca in config.ca}


def _others(config: AppConfig, ca: Ca) -> dict[Generation, PublicAuthority]:
    found: dict[Generation, PublicAuthority] = {}
    if ca.certificate is not None:
        return found
    place = Generations(StatePaths(config.state_dir).ca, ca.name)
    for generation in place.present():
        if generation is not Generation.CURRENT:
            try:
                found[generation] = load_public(ca.name, place.certificate(generation), SystemClock())
            except AuthorityError as error:
                told = {"ca": ca.name, "generation": str(generation), "error": str(error)}
                logger.error("a CA beside the current one cannot be used", extra=told)
    return found


def offered(current: Mapping[str, PublicAuthority], beside: Others) -> dict[str, list[PublicAuthority]]:
    """What clients are to install: the CA that signs now, then the one that will."""
    next_ones = {name: found[Generation.NEXT] for name, found in beside.items() if Generation.NEXT in found}
    return {name: [public, *([next_ones[name]] if name in next_ones else [])] for name, public in current.items()}


def own(current: Mapping[str, PublicAuthority], beside: Others) -> dict[str, PublicAuthority]:
    """Every CA of ours, none of which is ever believed upstream."""
    more = {f".{name}.{generation}": public for name, found in beside.items() for generation, public in found.items()}
    return {**current, **more}


def overlap(config: AppConfig, caches: Mapping[TenantId, LeafCache], probe: str, ready: ReadyClients) -> Overlap | None:
    """Who is served by the next CA; None when there is none. ``caches``: leaves of the next CAs, for each of their tenants."""
    if not caches:
        return None
    by_ca = {ca.name: ca.next_share for ca in config.ca}
    shares = {TenantId(tenant.tenant_id): by_ca[tenant.ca] for tenant in config.tenant}
    return Overlap({tenant: (cache, shares[tenant]) for tenant, cache in caches.items()}, probe, ready.knows)
