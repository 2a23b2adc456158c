"""The scanners of our ICAP server, as the configuration lists them."""

from appliance.app.paths import StatePaths
from appliance.config import scanners as config
from appliance.config.icap_server import IcapServer
from icap.server.clamav import ManagedClamd
from icap.server.scanners.clamd import ClamdScanner, ClamdSettings
from icap.server.scanners.endpoint import Endpoint
from icap.server.scanners.hashes import HashScanner, HashSettings
from icap.server.scanners.panel import Panel, Seat
from icap.server.scanners.scanner import Scanner
from icap.server.scanners.types import TypeRule, TypeScanner
from icap.server.scanners.unpacked import Unpacked
from icap.server.scanners.yara import YaraScanner, YaraSettings


def build(server: IcapServer, paths: StatePaths) -> Scanner:
    """One scanner is itself: what several need costs a body in one scanner nothing."""
    seats = [Seat(node.name, _scanner(node, paths)) for node in server.judges]
    return seats[0].scanner if len(seats) == 1 else Panel(seats)


def _scanner(node: config.Scanner, paths: StatePaths) -> Scanner:
    if isinstance(node, config.ClamdScanner):
        return ClamdScanner(_endpoints(node, paths), _clamd(node))
    if isinstance(node, config.HashScanner):
        return Unpacked(HashScanner(HashSettings(tuple(node.files), node.max_entries, name=node.name)), node.name)
    if isinstance(node, config.TypeScanner):
        return Unpacked(TypeScanner(tuple(_rule(rule) for rule in node.rules), node.name), node.name)
    settings = YaraSettings(node.directory, node.timeout, node.concurrency, node.max_size, name=node.name)
    return Unpacked(YaraScanner(settings), node.name)


def _endpoints(node: config.ClamdScanner, paths: StatePaths) -> list[Endpoint]:
    if node.endpoints:
        return [_endpoint(each) for each in node.endpoints]
    if node.tcp or node.socket:
        return [_endpoint(node)]
    return [Endpoint.unix(ManagedClamd(paths.clamd).socket)]


def _endpoint(node: config.ClamdScanner | config.ClamdEndpoint) -> Endpoint:
    return Endpoint.tcp(node.tcp) if node.tcp else Endpoint.unix(node.socket or "")


def _clamd(node: config.ClamdScanner) -> ClamdSettings:
    return ClamdSettings(
        timeout=node.timeout,
        concurrency=node.concurrency,
        max_size=node.max_size,
        block_encrypted=node.encrypted == "block",
        name=node.name,
    )


def _rule(node: config.TypeRule) -> TypeRule:
    return TypeRule(
        node.name,
        node.action == "allow",
        frozenset(node.types),
        frozenset(node.content_types),
        frozenset(node.extensions),
        node.mismatch,
    )
