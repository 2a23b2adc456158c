"""Scanning: every ICAP service is given an infected and a clean message. Our own, when it does not run, for a moment here."""

import socket
from collections.abc import Iterator, Mapping

from appliance.app import panel
from appliance.app.icap_services import IcapServices
from appliance.app.paths import StatePaths
from appliance.config.icap_graph import METHODS, leaves
from appliance.config.icap_server import IcapServer as IcapServerConfig
from appliance.config.root import AppConfig
from appliance.doctor.finding import Finding, fail, ok, warn
from appliance.doctor.ports import try_bind
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from icap.client import IcapService, ServiceEvent
from icap.client.prober import Rhythm
from icap.server.adapt import standard_services
from icap.server.clamav import ManagedClamd
from icap.server.server import IcapServer
from icap.server.settings import ServerSettings


async def examine(config: AppConfig) -> list[Finding]:
    """Each service of each auditor once."""
    services = IcapServices(config, _ignore)
    clients = dict(_clients(config, services))
    if not clients:
        hint = "set icap_reqmod_service and icap_respmod_service, or icap_rules"
        return [warn("scanning", "no auditor leads to an ICAP service", hint)]
    own = config.icap_server
    if own is None or _listens(own):
        return [await _ask(client, key) for client, key in clients.items()]
    clamd = own.clamd
    ours = ManagedClamd(StatePaths(config.state_dir).clamd).socket
    if clamd is not None and clamd.managed and not (clamd.socket or ours).exists():
        return [warn("scanning", "clamd is started by `arcus run`, which does not run now", "examine again while it runs")]
    return await _without_ours(config, own, clients)


def _clients(config: AppConfig, services: IcapServices) -> Iterator[tuple[IcapService, str]]:
    """Each service, and the key that says how it is checked."""
    nodes = {node.name: node for node in config.icap_service}
    for auditor in config.auditor:
        for uri in (auditor.icap_reqmod_service, auditor.icap_respmod_service):
            if uri is not None:
                yield services.short_client(auditor, uri), f"auditor[{auditor.name}].icap_health"
        for rule in auditor.icap_rules:
            for method in METHODS.values() if rule.scans else ():
                for name in leaves(config, rule.use, method):
                    yield services.client(nodes[name]), f"icap_service[{name}].health"


async def _ask(client: IcapService, key: str, shown: str = "") -> Finding:
    what = f"scanning by {shown or client.name}"
    try:
        health = await client.check() if client.checked else await client.greet()
    finally:
        await client.close()
    if health.ok and client.checked:
        return ok(what, f"EICAR is found ({health.detail}), clean passes, {health.ms:.0f} ms")
    if health.ok:
        return ok(what, f"answers ({health.detail}); whether it scans is not checked (health: null)")
    hint = "without it, traffic is treated by on_error; is its scanner running?"
    if health.reason is Reason.ICAP_UNHEALTHY:
        hint += f" If it is no virus scanner, say so: `{key}: null`"
    return fail(what, health.detail, hint)


async def _without_ours(config: AppConfig, own: IcapServerConfig, clients: Mapping[IcapService, str]) -> list[Finding]:
    """The appliance does not run: its ICAP server is started on a free port, with the scanner that is configured."""
    scanner = panel.build(own, StatePaths(config.state_dir))
    settings = ServerSettings()
    server = IcapServer(standard_services(scanner, settings, own.preview), settings)
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    try:
        await scanner.start()
        await server.start([sock])
        asked = [_ask_moved(client, key, port) if _is(client, own) else _ask(client, key) for client, key in clients.items()]
        return [await each for each in asked]
    finally:
        await server.stop(0.0)
        await scanner.close()


def _listens(own: IcapServerConfig) -> bool:
    """Whether somebody has its addresses: the appliance, or `arcus icap serve`."""
    taken = any(try_bind(listen.address) is not None for listen in own.listens.values())
    return taken or (own.unix is not None and own.unix.path.is_socket())


def _is(client: IcapService, own: IcapServerConfig) -> bool:
    if client.address.socket is not None:
        return own.unix is not None and client.address.socket == own.unix.path
    return Target(client.address.host, client.address.port) in [listen.address for listen in own.listens.values()]


async def _ask_moved(client: IcapService, key: str, port: int) -> Finding:
    """The same service of the server that was started."""
    moved = IcapService(f"icap://127.0.0.1:{port}{client.address.path}", health=Rhythm() if client.checked else None)
    return await _ask(moved, key, f"{client.name} (started for this check)")


def _ignore(event: ServiceEvent) -> None:
    """What happens stands in the findings."""
