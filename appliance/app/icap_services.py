"""From configuration to live ICAP services: each is made once in a worker, whoever leads to it."""

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from appliance.app.own_server import OwnServer
from appliance.app.verdicts import PATIENCE, Verdicts
from appliance.config.auditor import Auditor
from appliance.config.icap_chain import IcapChain
from appliance.config.icap_graph import leaves
from appliance.config.icap_service import IcapHealth, IcapMethod
from appliance.config.icap_service import IcapService as Node
from appliance.config.icap_set import IcapSet
from appliance.config.root import AppConfig
from icap.client import Chain, FailPolicy, IcapService, Member, Repeat, Service, ServiceEvent, ServiceSet, Tuning
from icap.client.prober import Rhythm
from icap.client.tls import client_context
from icap.client.way import Way

type Told = Callable[[ServiceEvent], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Which worker this is, and of how many: they share what a service allows, and begin a set at different members."""

    index: int = 0
    workers: int = 1


class IcapServices:
    """``clients``: every service that is used, in the order in which they were made."""

    def __init__(
        self,
        config: AppConfig,
        told: Told,
        place: Place = Place(),
        verdicts: Verdicts | None = None,
        own: OwnServer | None = None,
    ) -> None:
        """``own``: our ICAP server's services in this process."""
        self._config = config
        self._told = told
        self._place = place
        self._verdicts = verdicts
        self._own = own
        self._services = {node.name: node for node in config.icap_service}
        self._sets = {node.name: node for node in config.icap_set}
        self._chains = {node.name: node for node in config.icap_chain}
        self._clients: dict[tuple[str, str], IcapService] = {}

    @property
    def clients(self) -> list[IcapService]:
        return list(self._clients.values())

    def named(self, name: str, method: IcapMethod) -> Service:
        """What a rule leads to."""
        if name in self._chains:
            return self._chain(self._chains[name], method)
        if name in self._sets:
            return self._set(self._sets[name], method)
        node = self._services[name]
        on_overload = node.on_overload if node.on_overload != "wait" else None
        return FailPolicy(self._repeated(node), on_error=node.on_error, on_overload=on_overload)

    def short(self, auditor: Auditor, uri: str) -> Service:
        """The service that an auditor gives by its URI."""
        client = self.short_client(auditor, uri)
        kept = self._verdicts.short(client, auditor) if self._verdicts is not None else client
        return FailPolicy(kept, on_error=auditor.icap_on_error)

    def short_client(self, auditor: Auditor, uri: str) -> IcapService:
        key = (auditor.name, uri)
        if key not in self._clients:
            tuning = Tuning(first_byte_timeout=auditor.icap_timeout, workers=self._place.workers)
            self._clients[key] = IcapService(
                uri,
                connect_timeout=auditor.icap_connect_timeout,
                timeout=auditor.icap_timeout,
                max_connections=auditor.icap_max_connections,
                health=_rhythm(auditor.icap_health, Tuning().revival_delay),
                on_event=self._told,
                tuning=tuning,
                way=self._inside(uri, auditor.icap_max_connections, tuning),
            )
        return self._clients[key]

    def client(self, node: Node) -> IcapService:
        key = ("", node.name)
        if key not in self._clients:
            tuning = self._tuning(node)
            self._clients[key] = IcapService(
                node.uri,
                name=node.name,
                connect_timeout=node.connect_timeout,
                timeout=node.timeout,
                max_connections=node.max_connections,
                health=_rhythm(node.health, node.revival_delay),
                on_event=self._told,
                tls=_tls(node),
                tuning=tuning,
                way=self._inside(node.uri, node.max_connections, tuning),
            )
        return self._clients[key]

    def _inside(self, uri: str, limit: int, tuning: Tuning) -> Way | None:
        return self._own.way(uri, limit, tuning) if self._own is not None else None

    def _tuning(self, node: Node) -> Tuning:
        return Tuning(
            first_byte_timeout=node.first_byte_timeout,
            stall_timeout=node.between_bytes_timeout,
            queue_timeout=node.queue_timeout,
            max_waiting=node.queue if node.on_overload == "wait" else 0,
            failure_limit=node.failure_limit,
            failure_window=node.failure_window,
            revival_delay=node.revival_delay,
            retry=node.retry,
            workers=self._place.workers,
            honour_transfer_ignore=node.honour_transfer_ignore,
            send_identity=node.send_identity,
            allow_206=node.allow_206,
        )

    def _repeated(self, node: Node) -> Service:
        client = self.client(node)
        kept = self._verdicts.named(client, node) if self._verdicts is not None else client
        return Repeat(kept, node.repeats) if node.repeats else kept

    def _set(self, node: IcapSet, method: IcapMethod) -> Service:
        members = [self._services[name] for name in node.services if method in self._services[name].methods]
        found = ServiceSet([self._member(each) for each in members], node.strategy, first=self._place.index)
        return FailPolicy(found, on_error=node.on_error, on_overload=node.on_overload)

    def _member(self, node: Node) -> Member:
        standing = self.client(node).standing
        return Member(self._repeated(node), lambda: standing.available)

    def _chain(self, node: IcapChain, method: IcapMethod) -> Service:
        links = [name for name in node.links if any(leaves(self._config, name, method))]
        return Chain([self.named(name, method) for name in (links if method == "REQMOD" else reversed(links))])


def longest(config: AppConfig) -> Iterator[float]:
    """Seconds that a message may take in the services of each auditor, at the most."""
    nodes = {node.name: node for node in config.icap_service}
    waits = 1 + PATIENCE if config.verdict_cache.enabled else 1
    for auditor in config.auditor:
        if auditor.icap_reqmod_service or auditor.icap_respmod_service:
            yield auditor.icap_timeout * waits
        for rule in auditor.icap_rules:
            for method in ("REQMOD", "RESPMOD") if rule.scans else ():
                used = (nodes[name] for name in leaves(config, rule.use, method))
                yield sum(node.timeout * (1 + node.repeats) * waits for node in used)


def _tls(node: Node) -> ssl.SSLContext | None:
    if not node.uri.startswith("icaps:"):
        return None
    return client_context(node.tls_ca, node.tls_certificate, node.tls_private_key)


def _rhythm(node: IcapHealth | None, revival: float) -> Rhythm | None:
    return Rhythm(node.interval, node.timeout, revival) if node is not None else None
