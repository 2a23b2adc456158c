"""DNS: whether records that lead browsers around the appliance come through (C13)."""

import secrets
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from appliance.config.root import AppConfig
from appliance.doctor.dns import HTTPS, A, DnsAnswer, DnsError, ask, nameservers
from appliance.doctor.finding import Finding, ok, warn

WHAT: Final = "HTTPS records"
PROBE: Final = "cloudflare.com"
"""A name that has had an HTTPS record since the type exists."""
_STRIP: Final = "if clients use this resolver, too, strip them there: compose/dns/dnsmasq.conf, docs/operating.md"
_FIRST: Final = 3
"""Nameservers that the system's resolver asks at most (resolv.conf(5), MAXNS)."""

type Ask = Callable[[str, int], DnsAnswer]
"""A name and a type. Raises OSError and DnsError."""


def examine(_config: AppConfig, port: int = 53) -> Iterator[Finding]:
    """Ask the resolver of this machine. Where names are not resolved at all, nothing is known, and nothing is wrong."""
    try:
        known = nameservers()[:_FIRST]
    except OSError as error:
        yield warn(WHAT, f"/etc/resolv.conf cannot be read: {error.strerror}", "see to it that this machine resolves names")
        return
    failures = []
    for server in known:
        try:
            yield _judge(server, partial(_ask, server, port))
            return
        except (OSError, DnsError) as error:
            failures.append(f"{server}: {error}")
    yield warn(WHAT, f"no resolver answers ({'; '.join(failures) or 'none is configured'})", "see to /etc/resolv.conf")


def _ask(server: str, port: int, name: str, kind: int) -> DnsAnswer:
    return ask(server, name, kind, secrets.randbelow(1 << 16), port=port)


def _judge(server: str, asking: Ask) -> Finding:
    if HTTPS in asking(PROBE, HTTPS).types:
        return warn(WHAT, f"the resolver {server} gives them out: browsers learn of HTTP/3 and of keys for ECH", _STRIP)
    if A not in asking(PROBE, A).types:
        return ok(WHAT, f"not known: the resolver {server} knows no address of {PROBE}")
    return ok(WHAT, f"the resolver {server} strips them")
