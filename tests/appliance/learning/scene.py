"""A learner over a real store, a clock that tests set, and audit events as workers write them."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.config.exclusions import Learning
from appliance.domain.act import Actor, Via
from appliance.domain.clock import ManualClock
from appliance.domain.exclusion import Learned
from appliance.domain.learning import Record
from appliance.learning.book import Book
from appliance.learning.desk import Desk
from appliance.learning.learner import Learner
from appliance.learning.tenants import TenantRules
from appliance.storage.exclusions import ExclusionStore
from appliance.storage.sqlite import SqliteStore

ALICE = Actor("alice", Via.COMMAND_LINE)
APP = "t13d1516h2_8daaf6152771_e5627efa2ab1"
OTHER = "t13d1516h2_8daaf6152771_000000000000"
HOST, ELSEWHERE = "pinned.test", "elsewhere.test"
THREE = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
RULES = Learning(
    mode="apply", clients=3, failures=5, period=86_400, spread=600, ttl=7 * 86_400, retest=10, max_entries=3, networks=1,
)  # fmt: skip


class Scene:
    def __init__(self, store: SqliteStore, rules: dict[str, Learning], vetoes: dict[str, str]) -> None:
        self.clock = ManualClock(1_760_000_000.0)
        self.database = store
        self.store = ExclusionStore(store)
        tenants = {name: TenantRules(each, lambda host: vetoes.get(host, "")) for name, each in rules.items()}
        book = Book(self.store, tenants, self.clock)
        self.learner = Learner(book)
        self.desk = Desk(book)
        self._numbers = itertools.count()

    def event(self, ip: str, host: str, ja4: str = APP, tenant: str = "a", **more: Any) -> dict[str, Any]:
        return {
            "id": f"e{next(self._numbers)}", "conn_id": f"c{next(self._numbers)}", "tenant_id": tenant, "user_id": "",
            "source_ip": ip, "destination_host": host, "created_at": self.clock.now(), "decrypt": "intercept",
            "conn_requests": 1, "client_hello": {"sni": host, "ja4": ja4},
        } | more  # fmt: skip

    def refused(self, ip: str, host: str = HOST, ja4: str = APP, alert: str = "unknown_ca", **more: Any) -> dict[str, Any]:
        tls = {"client_tls": {"alert": alert}} if alert else {}
        failure = {"kind": "connection", "tls_failure": "client_reject", "tls_failure_side": "client"}
        return self.event(ip, host, ja4, **(failure | tls | more))

    def accepted(self, ip: str, host: str = ELSEWHERE, ja4: str = APP, **more: Any) -> dict[str, Any]:
        tls = {"kind": "request", "client_tls": {"version": "TLSv1.3"}, "user_agent": "App/1.0"}
        return self.event(ip, host, ja4, **(tls | more))

    def asked(self, ip: str, host: str = HOST, **more: Any) -> dict[str, Any]:
        """A server that wants a certificate of the client."""
        tls = {"client_tls": {"version": "TLSv1.3"}, "server_tls": {"alert": "certificate_required"}}
        return self.event(ip, host, **({"kind": "request", "tls_failure": "mtls", "tls_failure_side": "server"} | tls | more))

    def see(self, *events: dict[str, Any]) -> tuple[Learned, ...]:
        self.learner.observe(events)
        return self.learner.tick()

    def trusting(self, *ips: str, **more: Any) -> None:
        """These clients accept our certificate elsewhere."""
        self.learner.observe([self.accepted(ip, **more) for ip in ips])

    def refuse(self, *ips: str, rounds: int = 2, **more: Any) -> tuple[Learned, ...]:
        """Each of them is refused, every ten minutes."""
        found: tuple[Learned, ...] = ()
        for _ in range(rounds):
            found = self.see(*(self.refused(ip, **more) for ip in ips))
            self.clock.advance(600)
        return found

    @property
    def records(self) -> list[Record]:
        return self.desk.records()


@contextmanager
def scene(folder: Path, rules: Learning = RULES, **vetoes: str) -> Iterator[Scene]:
    """Tenants ``a`` and ``b`` with the same rules; ``vetoes`` by host, its dots written as underscores."""
    store = SqliteStore(folder / "audit.db")
    try:
        yield Scene(store, {"a": rules, "b": rules}, {host.replace("_", "."): why for host, why in vetoes.items()})
    finally:
        store.close()
