"""While a CA is being replaced: which clients are shown a leaf of the next one already."""

import hashlib
from collections.abc import Callable, Mapping

from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes
from certs.cache import LeafCache

type Ready = Callable[[str, str], bool]
"""Whether a client (by its address) has accepted the CA with this fingerprint, and not refused it since."""


class Overlap:
    """``caches``: for tenants whose CA has a next one, its leaves and the percentage of ready clients that get them.

    ``probe`` is the portal's name whose leaf is always the next CA's: nobody's work hangs on it, and who accepts it is
    ready. No other client is ever shown a leaf of a CA that it has not accepted before.
    """

    def __init__(self, caches: Mapping[TenantId, tuple[LeafCache, int]], probe: str, ready: Ready) -> None:
        self._caches = caches
        self._probe = probe
        self._ready = ready

    def cache(self, conn: ConnNotes) -> LeafCache | None:
        """The next CA's leaves, when this connection is to be served from them."""
        found = self._caches.get(conn.tenant or TenantId(""))
        if found is None:
            return None
        cache, share = found
        if conn.hello is not None and conn.hello.sni == self._probe and conn.portal:
            return cache
        ip = conn.client.ip
        return cache if in_share(ip, share) and self._ready(cache.authority.fingerprint, ip) else None


def in_share(ip: str, percent: int) -> bool:
    """The same answer for a client on every worker and after every restart; a larger share holds every smaller one."""
    return int.from_bytes(hashlib.sha256(ip.encode()).digest()[:4]) % 100 < percent
