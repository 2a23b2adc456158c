"""The hash lists of the configuration, as the ledger of what was delivered is held against them."""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from appliance.config.auditor import Auditor
from appliance.config.icap_graph import METHODS, leaves
from appliance.config.icap_server import IcapServer
from appliance.config.root import AppConfig
from appliance.config.scanners import HashScanner
from appliance.config.values import Listen
from appliance.files import stamp
from appliance.retro.lists import Hit
from icap.client.address import ServiceAddress
from icap.server.scanners.hash_list import HashList, load
from icap.server.scanners.watched import Flawed

logger = logging.getLogger(__name__)

_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))
_EVERYWHERE: Final = frozenset(("0.0.0.0", "::"))


class Source:
    """Some files as one list: what was read before stays where they are bad now."""

    def __init__(self, name: str, files: Iterable[Path], most: int) -> None:
        self.name = name
        self.flaw = ""
        self._files = tuple(files)
        self._most = most
        self._seen: object = None
        self._read: tuple[HashList, str] | None = None

    @property
    def version(self) -> str:
        """Of the entries, not of the files; empty before they were good once."""
        return self._read[1] if self._read is not None else ""

    def refresh(self) -> None:
        try:
            seen = [stamp(file) for file in self._files]
            if seen == self._seen:
                return
            self._seen = seen
            entries = load(self._files, self._most)
        except (Flawed, OSError) as error:
            if str(error) != self.flaw:
                logger.error("a hash list cannot be read, and what it said before holds", extra={"error": str(error)})
            self.flaw = str(error)
        else:
            self._read, self.flaw = (entries, _version(entries)), ""

    def find(self, digest: bytes) -> Hit | None:
        if self._read is None:
            return None
        entries, version = self._read
        name = entries.find(digest)
        return Hit(name, f"list {self.name}", f"hashes/{len(entries)}.{version}") if name is not None else None


def _version(entries: HashList) -> str:
    digest = hashlib.sha256()
    for bucket in entries.buckets:
        digest.update(bucket)
    digest.update(entries.names)
    return digest.hexdigest()[:8]


class ConfiguredLists:
    """``Lists``: those of ``retro.hashes`` for every tenant, and those of our own ICAP server for the tenants that it scans
    for, which found the bodies clean by an earlier one."""

    def __init__(self, config: AppConfig) -> None:
        extra = [Source("retro.hashes", config.retro.hashes, config.retro.max_entries)] if config.retro.hashes else []
        own = [Source(each.name, each.files, each.max_entries) for each in _own(config.icap_server)]
        auditors = {auditor.name: auditor for auditor in config.auditor}
        self._sources = (*extra, *own)
        self._by_tenant: Mapping[str, tuple[Source, ...]] = {
            tenant.tenant_id: (*extra, *(own if own and asks_own_server(config, auditors[tenant.auditor]) else ()))
            for tenant in config.tenant
        }
        self.ready = not self._sources

    @property
    def flaw(self) -> str:
        """What is wrong with the files as they are now; empty when nothing is."""
        return "; ".join(source.flaw for source in self._sources if source.flaw)

    def refresh(self) -> None:
        for source in self._sources:
            source.refresh()
        self.ready = True

    def version(self, tenant: str) -> str:
        return "+".join(source.version for source in self._by_tenant.get(tenant, ()) if source.version)

    def find(self, tenant: str, sha256: str) -> Hit | None:
        sources = self._by_tenant.get(tenant, ())
        if not sources:
            return None
        digest = bytes.fromhex(sha256)
        return next((hit for source in sources if (hit := source.find(digest)) is not None), None)


def _own(server: IcapServer | None) -> list[HashScanner]:
    return [each for each in server.judges if isinstance(each, HashScanner)] if server is not None else []


def asks_own_server(config: AppConfig, auditor: Auditor) -> bool:
    """Whether messages of this auditor go to our own ICAP server."""
    server = config.icap_server
    return server is not None and any(_is_own(server, ServiceAddress.parse(uri)) for uri in uris(config, auditor))


def uris(config: AppConfig, auditor: Auditor) -> Iterator[str]:
    """Of every service that an auditor's messages may go to."""
    yield from filter(None, (auditor.icap_reqmod_service, auditor.icap_respmod_service))
    services = {service.name: service.uri for service in config.icap_service}
    for rule in auditor.icap_rules:
        for method in METHODS.values() if rule.scans else ():
            yield from (services[name] for name in leaves(config, rule.use, method))


def _is_own(server: IcapServer, address: ServiceAddress) -> bool:
    if address.socket is not None:
        return server.unix is not None and server.unix.path == address.socket
    listen = server.listen if not address.tls else server.tls.listen if server.tls is not None else None
    return listen is not None and _same(listen, address)


def _same(listen: Listen, address: ServiceAddress) -> bool:
    host, near = listen.address.host, address.host in _LOOPBACK
    return listen.address.port == address.port and (host == address.host or (near and host in _LOOPBACK | _EVERYWHERE))
