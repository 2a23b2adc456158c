"""User groups, prepared for asking: what is known of each user besides the password."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from appliance.config.users import HostFilterSet, StaticUser, UserGroup
from appliance.domain.facts import UserFacts
from appliance.domain.hostmatch import NetworkMap
from appliance.identity.hashes import Argon2Hash, SaltedSha1, Secret, decoy, prepare

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class User:
    """``secret`` is None when the configured hash is unusable: nothing fits then. ``blocked_until`` in epoch seconds."""

    facts: UserFacts
    secret: Secret | None
    sources: NetworkMap[bool] | None
    blocked: bool
    blocked_until: float | None
    delay: float

    def is_blocked(self, now: float) -> bool:
        return self.blocked and (self.blocked_until is None or now < self.blocked_until)

    def may_come_from(self, ip: str) -> bool:
        return self.sources is None or self.sources.longest(ip) is not None


@dataclass(frozen=True, slots=True)
class Group:
    """``stand_in`` is checked for users who do not exist. ``ttl`` in seconds."""

    name: str
    realm: str
    anonymous: bool
    ttl: float
    users: dict[str, User]
    stand_in: Argon2Hash


def prepare_group(config: UserGroup) -> Group:
    """A name given twice: the first counts. An unusable hash is logged and never matches."""
    users: dict[str, User] = {}
    for user in config.static_users:
        users.setdefault(prepare(user.name), _prepare_user(user, config.name))
    stand_in = decoy(user.secret for user in users.values() if user.secret)
    return Group(config.name, config.realm, config.anonymous, config.cache_ttl, users, stand_in)


def _prepare_user(user: StaticUser, group: str) -> User:
    ports = None if user.dst_port_filter is None else frozenset(user.dst_port_filter)
    facts = UserFacts(prepare(user.name), group, ports, _hosts(user.dst_host_filter_set))
    sources = None if user.source_ip_filter is None else NetworkMap((net, True) for net in user.source_ip_filter)
    block = user.block_config
    return User(facts, _secret(user, group), sources, user.blocked, _epoch(block.until), block.delay)


def _secret(user: StaticUser, group: str) -> Secret | None:
    try:
        if user.password_hash is not None:
            return Argon2Hash.parse(user.password_hash.get_secret_value())
        if user.token is not None:
            return SaltedSha1.parse(user.token.salt, user.token.sha1.get_secret_value())
    except ValueError as error:
        _log.warning("user %s of group %s cannot log in: %s", user.name, group, error)
    return None


def _hosts(config: HostFilterSet | None) -> frozenset[str] | None:
    if config is None:
        return None
    return frozenset(config.exact) | frozenset(_below(config.child))


def _below(domains: Iterable[str]) -> Iterable[str]:
    return ("." + domain.removeprefix(".") for domain in domains)


def _epoch(until: datetime | None) -> float | None:
    """A time without a zone is UTC: a block must not move with the machine's zone."""
    if until is None:
        return None
    return (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp()
