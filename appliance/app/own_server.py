"""Our ICAP server's services inside a worker (``icap_server.in_workers``)."""

from typing import Final

from appliance.app import panel
from appliance.app.paths import StatePaths
from appliance.config.icap_server import IcapServer as IcapServerConfig
from appliance.config.root import AppConfig
from appliance.domain.target import Target
from icap.client import Tuning
from icap.client.address import ServiceAddress
from icap.client.author import Author
from icap.client.way import Way
from icap.inside import Inside
from icap.server.adapt import standard_services
from icap.server.scanners.scanner import Scanner
from icap.server.settings import ServerSettings

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class OwnServer:
    """``scanner`` is started when somebody's way leads to it."""

    def __init__(self, config: IcapServerConfig, scanner: Scanner) -> None:
        self._config = config
        self._scanner = scanner
        self._services = standard_services(scanner, ServerSettings(), config.preview)
        self._used = False

    def way(self, uri: str, limit: int, tuning: Tuning) -> Way | None:
        """To the service of this URI; None when it is another server's, or is to be asked over TLS. ``limit``: messages at one
        time."""
        address = ServiceAddress.parse(uri)
        if not self._is_ours(address):
            return None
        self._used = True
        service = self._services.get(address.path.partition("?")[0].strip("/"))
        author = Author(address, tuning)
        return Inside(service, author, limit, max_waiting=tuning.max_waiting, queue_timeout=tuning.queue_timeout)

    def _is_ours(self, address: ServiceAddress) -> bool:
        if address.socket is not None:
            return self._config.unix is not None and address.socket == self._config.unix.path
        if address.tls or self._config.listen is None:
            return False
        listens, asked = self._config.listen.address, Target(address.host, address.port)
        anywhere = listens.host in ("0.0.0.0", "::") and listens.port == asked.port
        return asked == listens or (anywhere and asked.host in _LOOPBACK)

    async def start(self) -> None:
        if self._used:
            await self._scanner.start()

    async def close(self) -> None:
        if self._used:
            await self._scanner.close()


def own_server(config: AppConfig) -> OwnServer | None:
    """None where workers ask it over ICAP."""
    own = config.icap_server
    return OwnServer(own, panel.build(own, StatePaths(config.state_dir))) if own is not None and own.in_workers else None
