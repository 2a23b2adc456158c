"""The scanners of each tenant, as its traffic has them, for samples that are judged again: without kept verdicts."""

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path
from stat import S_ISREG
from typing import Final

from appliance.app.icap_services import IcapServices
from appliance.config.auditor import Auditor
from appliance.config.icap_graph import METHODS
from appliance.config.root import AppConfig
from appliance.domain.quarantine import Item
from appliance.domain.verdict import ScanVerdict
from appliance.policy.decrypt import compile_lists
from appliance.policy.scan_rules import DIRECTIONS, Direction, Lists, MessageFacts, ScanRules
from appliance.retro.rejudge import Sample
from icap.client import HttpHead, IcapService, Identity, Message, Service, ServiceEvent, encapsulate

logger = logging.getLogger(__name__)

SETTLES: Final = (5.0, 60.0, 660.0)
"""Seconds after a change of watched files at which all is judged again: whoever reads them may take that long to begin (clamd
looks every ten minutes, where nobody tells it)."""


class TenantScanners:
    """``Judge`` for one tenant."""

    def __init__(self, auditor: Auditor, lists: Lists, services: IcapServices) -> None:
        self._auditor = auditor
        self._rules = ScanRules.compile(auditor, lists)
        before = len(services.clients)
        self._services = {
            (use, each): self._service(services, use, each) for each in DIRECTIONS for use in sorted(self._rules.uses(each))
        }
        self.clients = services.clients[before:]

    def _service(self, services: IcapServices, use: str, direction: Direction) -> Service:
        if use in (self._auditor.icap_reqmod_service, self._auditor.icap_respmod_service):
            return services.short(self._auditor, use)
        return services.named(use, METHODS[direction])

    async def judge(self, sample: Sample) -> ScanVerdict | None:
        item, direction = sample.item, _direction(sample.item)
        facts = MessageFacts("POST" if direction == "request" else "GET", item.host, item.media_type, item.size)
        route = self._rules.choose(direction, lambda: facts)
        if not route.use:
            return None
        adapted = await self._services[route.use, direction].adapt(message(sample, identity=self._auditor.icap_send_identity))
        if isinstance(adapted.body, bytes | None):
            return adapted.verdict
        adapted.body.close()
        return adapted.verdict


def message(sample: Sample, *, identity: bool) -> Message:
    """What a service is shown: the body with what is known of its heads."""
    item, direction = sample.item, _direction(sample.item)
    fields = [(b"Content-Type", item.media_type.encode("latin-1", "replace"))] if item.media_type else []
    fields += [(b"Content-Encoding", item.coding.encode("latin-1", "replace"))] if item.coding else []
    host = (b"Host", item.host.encode("ascii", "replace"))
    url = _url(sample)
    who = Identity(tenant=item.tenant) if identity else Identity()
    if direction == "request":
        head = HttpHead(b"POST " + url + b" HTTP/1.1", (host, *fields))
        return Message("REQMOD", encapsulate(head, len(sample.body)), None, sample.body, who, item.task, item.tenant)
    asked = encapsulate(HttpHead(b"GET " + url + b" HTTP/1.1", (host,)), None)
    answered = encapsulate(HttpHead(b"HTTP/1.1 200 OK", tuple(fields)), len(sample.body))
    return Message("RESPMOD", asked, answered, sample.body, who, item.task, item.tenant)


def _url(sample: Sample) -> bytes:
    text = sample.url if sample.url.isascii() and sample.url.isprintable() and " " not in sample.url else ""
    return (text or f"http://{sample.item.host}/").encode("ascii", "replace")


def _direction(item: Item) -> Direction:
    return "request" if item.side == "request" else "response"


class RetroServices:
    """All tenants with samples, and by what signatures their scanners judge, as far as they tell."""

    def __init__(self, config: AppConfig) -> None:
        lists, auditors = compile_lists(config.host_list), {auditor.name: auditor for auditor in config.auditor}
        chosen = [tenant for tenant in config.tenant if tenant.tenant_id in config.retro.samples.tenants]
        # one set of services for each tenant: what another one's service is asked must not count for it
        self._services = {tenant.tenant_id: IcapServices(config, _tell) for tenant in chosen}
        self.by_tenant = {
            tenant.tenant_id: TenantScanners(auditors[tenant.auditor], lists, self._services[tenant.tenant_id])
            for tenant in chosen
        }
        self._watch = tuple(config.retro.watch)

    def start(self) -> None:
        for client in self._clients():
            client.start()

    async def greet(self) -> None:
        """Services that are not checked tell their tag with their options."""
        for client in self._clients():
            if not client.checked:
                await client.greet()

    def tag(self, tenant: str, before: str, now: float) -> str:
        """What is known of a tenant's signatures; ``before``: what was. What a service does not tell now, it told then."""
        known = dict(part.split(":", 1) for part in before.split() if ":" in part)
        for client in self.by_tenant[tenant].clients:
            if client.stats.istag:
                known[_short(str(client.address))] = _short(client.stats.istag)
        if self._watch:
            known["files"] = watched(self._watch, now)
        return " ".join(f"{name}:{value}" for name, value in sorted(known.items()))

    async def close(self) -> None:
        for client in self._clients():
            await client.close()

    def _clients(self) -> Iterable[IcapService]:
        return [client for scanners in self.by_tenant.values() for client in scanners.clients]


def changed(before: str, after: str) -> bool:
    """Whether something that was known says something else. What becomes known is no change."""
    old = dict(part.split(":", 1) for part in before.split())
    new = dict(part.split(":", 1) for part in after.split())
    return any(new.get(name) != value for name, value in old.items())


def watched(paths: Iterable[Path], now: float) -> str:
    """Another one when a file, or one in a folder, has changed, and again at each time of ``SETTLES`` after that."""
    digest, newest = hashlib.sha256(), 0.0
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            try:
                status = file.stat()
            except OSError:
                continue  # it is gone again, which is another list
            if not S_ISREG(status.st_mode):
                continue
            digest.update(
                f"{file}\0{status.st_mtime_ns}\0{status.st_size}\0{status.st_ino}\0".encode("utf-8", "surrogateescape")
            )
            newest = max(newest, status.st_ctime)
    return f"{digest.hexdigest()[:8]}.{sum(now - newest >= each for each in SETTLES)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _tell(event: ServiceEvent) -> None:
    logger.debug("ICAP service", extra={"service": event.service, "state": event.kind, "detail": event.detail})
