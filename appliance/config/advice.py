"""What is valid, but probably not meant."""

import re
from datetime import UTC, date, datetime
from typing import Final

from appliance.config.scanners import ClamdScanner, YaraScanner
from appliance.config.shadow import warn_of_shadows
from appliance.config.view import View
from appliance.domain.clock import SystemClock

_PHC: Final = re.compile(r"\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{16,}\Z")


def give_advice(view: View) -> None:
    _users(view)
    _tenants(view)
    _scan_sizes(view)
    warn_of_shadows(view)
    _ended(view, datetime.fromtimestamp(SystemClock().now(), UTC).date())


def _users(view: View) -> None:
    for path, group in view.each("user_group"):
        if not group.static_users and not group.anonymous:
            view.warn(path, "has no users, so nobody can use it")
        for index, user in enumerate(group.static_users):
            where = (*path, "static_users", index)
            if user.password_hash is not None and not _PHC.match(user.password_hash.get_secret_value()):
                message = "no complete argon2id hash, so no password fits it; `arcus user hash` prints one"
                view.warn((*where, "password_hash"), message)
            if user.token is not None:
                view.warn((*where, "token"), "SHA-1 is quickly guessed; `arcus user hash` makes a stronger hash")


def _tenants(view: View) -> None:
    config = view.config
    unbound = [server.name for server in config.server if server.tenant_context is None]
    if "default" not in view.names("tenant") and unbound:
        view.warn(("tenant",), f"no tenant 'default': on {', '.join(unbound)}, clients that match no tenant are refused")
    authenticating = any(server.user_group for server in config.server)
    for path, tenant in view.each("tenant"):
        for index, policy in enumerate(tenant.policies):
            if policy.config.action == "require_auth" and policy.enabled and not tenant.user_group and not authenticating:
                view.warn((*path, "policies", index), "require_auth, but no user_group: nobody can authenticate")
    _same_match(view)


def _same_match(view: View) -> None:
    """Two tenants with one network would be told apart by the order in the file."""
    seen: dict[object, str] = {}
    for path, tenant in view.each("tenant"):
        for key, values in (("networks", tenant.match.networks), ("sni", tenant.match.sni)):
            for index, value in enumerate(values):
                other = seen.setdefault(value, tenant.tenant_id)
                if other != tenant.tenant_id:
                    view.error((*path, "match", key, index), f"{value} belongs to tenant {other!r} already")


def _scan_sizes(view: View) -> None:
    own = view.config.icap_server
    limited = [each for each in own.judges if isinstance(each, ClamdScanner | YaraScanner)] if own else []
    for path, auditor in view.each("auditor"):
        for scanner in limited:
            if auditor.max_scan_size > scanner.max_size:
                where = "scanner" if own is not None and own.scanner is not None else f"scanners ({scanner.name})"
                message = f"larger than icap_server.{where}.max_size ({scanner.max_size}): bodies in between are scan errors"
                view.warn((*path, "max_scan_size"), message)


def _ended(view: View, today: date) -> None:
    """What held until a day that is past stands in the file as if it still held."""
    for path, auditor in view.each("auditor"):
        tls = auditor.tls_interception
        if tls is None:
            continue
        for keys, dated in (
            (("exclusions", "hosts"), tls.exclusions.hosts),
            (("upstream_certificates", "exceptions"), tls.upstream_certificates.exceptions),
        ):
            for index, each in enumerate(dated):
                if each.until is not None and each.until < today:
                    where = (*path, "tls_interception", *keys, index, "until")
                    view.warn(where, f"{each.until} is past, so this does not count any more; remove it, or give it a new day")
