"""Which requests are for the appliance's own pages: by the name they go to, before anything is dialled or judged."""

from collections.abc import Iterable
from typing import Final

from appliance.config.portal import Portal
from appliance.domain.notes import ConnNotes
from appliance.domain.target import Target, parse_ip

CHECK: Final = "check."
"""Before the fixed name: where the test whether the CA is installed loads from. Nobody has told a browser to make an exception
for that name, as people do for the page that they look at."""
NEXT: Final = "next."
"""Likewise for a CA that will follow: its leaf is always signed by that one."""
PAC_PATHS: Final = frozenset({"/proxy.pac", "/wpad.dat"})


class PortalNames:
    """Immutable. One that is not enabled serves nothing."""

    __slots__ = ("_listener_names", "_names", "_wpad", "check", "name", "next")

    def __init__(self, name: str, listener_names: Iterable[str] = (), *, wpad: bool = True) -> None:
        """``name`` empty: not enabled."""
        self.name = name
        self.check = CHECK + name
        self.next = NEXT + name
        self._names = frozenset({name, self.check, self.next}) if name else frozenset[str]()
        self._listener_names = frozenset(listener_names)
        self._wpad = wpad and bool(name)

    @classmethod
    def of(cls, config: Portal) -> "PortalNames":
        return cls(config.name if config.enabled else "", config.listener_names, wpad=config.wpad)

    def serves(self, host: str) -> bool:
        """Whether a normalised host is one of the portal's."""
        return host in self._names

    def tunnel(self, target: Target, sni: str = "") -> bool:
        """Whether a tunnel leads here: by its target, or by the name in the ClientHello where the target is an address.

        A tunnel to another name stays that other name's, whatever its ClientHello says.
        """
        return target.host in self._names or (sni in self._names and parse_ip(target.host) is not None)

    def request(self, conn: ConnNotes, target: Target | None, scheme: str, claimed: str, path: str) -> bool:
        """Whether a request is for the portal. ``claimed`` is the host of its Host field, ``target`` where it would go."""
        if conn.portal or target is None or target.host in self._names:
            return conn.portal or target is not None
        if scheme != "http" or not self._names:
            return False  # TLS: the tunnel has been judged
        host = claimed if claimed and parse_ip(target.host) is not None else target.host
        return host in self._names or (self._is_wpad(host) and path.partition("?")[0] in PAC_PATHS)

    def direct(self, host: str, listen_ip: str) -> bool:
        """Whether a request in origin-form, sent to an explicit proxy's own port, is for the portal: by its Host."""
        if not self._names:
            return False
        return host in self._names or host == listen_ip or host in self._listener_names or self._is_wpad(host)

    def _is_wpad(self, host: str) -> bool:
        return self._wpad and (host == "wpad" or host.startswith("wpad."))


NO_PORTAL: Final = PortalNames("")
