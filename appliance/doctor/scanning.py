"""Scanning: every ICAP service is given an infected and a clean message. Our own, when it does not run, for a moment here."""

import socket
from collections.abc import Iterator

from appliance.app.paths import StatePaths
from appliance.config.auditor import Auditor
from appliance.config.icap_server import IcapServer as IcapServerConfig
from appliance.config.root import AppConfig
from appliance.doctor.finding import Finding, fail, ok, warn
from appliance.doctor.ports import try_bind
from appliance.domain.target import Target
from icap.client import IcapService
from icap.client.address import ServiceAddress
from icap.server.adapt import standard_services
from icap.server.clamav import ManagedClamd
from icap.server.scanners.clamd import ClamdScanner, ClamdSettings
from icap.server.scanners.endpoint import Endpoint
from icap.server.server import IcapServer
from icap.server.settings import ServerSettings


async def examine(config: AppConfig) -> list[Finding]:
    """Each service of each auditor once."""
    services = dict(_services(config))
    if not services:
        return [warn("scanning", "no auditor names an ICAP service", "set icap_reqmod_service and icap_respmod_service")]
    own = config.icap_server
    if own is None or try_bind(own.listen.address) is not None:
        return [await _ask(uri, auditor) for uri, auditor in services.items()]
    if own.scanner.managed and not (own.scanner.socket or ManagedClamd(StatePaths(config.state_dir).clamd).socket).exists():
        return [warn("scanning", "clamd is started by `arcus run`, which does not run now", "examine again while it runs")]
    return await _without_ours(config, own, services)


def _services(config: AppConfig) -> Iterator[tuple[str, Auditor]]:
    for auditor in config.auditor:
        for uri in (auditor.icap_reqmod_service, auditor.icap_respmod_service):
            if uri is not None:
                yield uri, auditor


async def _ask(uri: str, auditor: Auditor, shown: str = "") -> Finding:
    service = IcapService(uri, connect_timeout=auditor.icap_connect_timeout, timeout=auditor.icap_timeout, max_connections=1)
    try:
        health = await service.check()
    finally:
        await service.close()
    what = f"scanning by {shown or uri}"
    if health.ok:
        return ok(what, f"EICAR is found ({health.detail}), clean passes, {health.ms:.0f} ms")
    return fail(what, health.detail, "without it, traffic is treated by icap_on_error; is clamd running?")


async def _without_ours(config: AppConfig, own: IcapServerConfig, services: dict[str, Auditor]) -> list[Finding]:
    """The appliance does not run: its ICAP server is started on a free port, with the scanner that is configured."""
    scanner = _scanner(own, StatePaths(config.state_dir))
    settings = ServerSettings()
    server = IcapServer(standard_services(scanner, settings, own.preview), settings)
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    try:
        await scanner.start()
        await server.start([sock])
        return [
            await _ask(
                _moved(uri, own.listen.address, port), auditor, f"{uri} (started for this check)" if _is(uri, own) else uri
            )
            for uri, auditor in services.items()
        ]
    finally:
        await server.stop(0.0)
        await scanner.close()


def _is(uri: str, own: IcapServerConfig) -> bool:
    address = ServiceAddress.parse(uri)
    return Target(address.host, address.port) == own.listen.address


def _moved(uri: str, own: Target, port: int) -> str:
    address = ServiceAddress.parse(uri)
    if Target(address.host, address.port) != own:
        return uri
    return f"icap://127.0.0.1:{port}/{uri.split('://', 1)[1].partition('/')[2]}"


def _scanner(config: IcapServerConfig, paths: StatePaths) -> ClamdScanner:
    scanner = config.scanner
    endpoint = Endpoint.tcp(scanner.tcp) if scanner.tcp else Endpoint.unix(scanner.socket or ManagedClamd(paths.clamd).socket)
    return ClamdScanner(endpoint, ClamdSettings(timeout=scanner.timeout, max_size=scanner.max_size))
