"""Which client certificate a server may see, on whose behalf."""

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.config.client_certificates import ClientCertificate
from appliance.domain.facts import UserFacts
from appliance.domain.hostmatch import HostMatcher, domain_matcher


@dataclass(frozen=True, slots=True)
class _Entry:
    node: ClientCertificate
    hosts: HostMatcher[bool]

    def fits(self, host: str, user: UserFacts | None) -> bool:
        node = self.node
        if self.hosts.find(host) is None or (node.users and (user is None or user.name not in node.users)):
            return False
        return not node.groups or (user is not None and user.group in node.groups)


class ClientCertificates:
    """Of one tenant."""

    def __init__(self, tenant: str, nodes: Iterable[ClientCertificate]) -> None:
        self._entries = [
            _Entry(node, domain_matcher(node.hosts)) for node in nodes if not node.tenants or tenant in node.tenants
        ]

    def find(self, host: str, user: UserFacts | None) -> str | None:
        """The name of the certificate for a server, on behalf of ``user``; None when there is none."""
        return next((entry.node.name for entry in self._entries if entry.fits(host, user)), None)
