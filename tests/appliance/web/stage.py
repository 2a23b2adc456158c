"""The application with a real store, a real token, and a clock and health that tests set."""

import functools
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from starlette.routing import Route
from starlette.types import ASGIApp

from appliance.audit.mask import Masker
from appliance.audit.query.search import AuditSearch
from appliance.audit.record import to_event
from appliance.config.exclusions import Learning
from appliance.control import token
from appliance.domain.clock import ManualClock
from appliance.domain.ids import TenantId
from appliance.learning.book import Book
from appliance.learning.desk import Desk
from appliance.learning.tenants import TenantRules
from appliance.portal.anchor import Anchor
from appliance.portal.files import Household
from appliance.retro.desk import RetroDesk
from appliance.storage.coverage import CoverageLedger
from appliance.storage.exclusions import ExclusionStore
from appliance.storage.retro import RetroLedger
from appliance.storage.retro_search import RetroSearch
from appliance.storage.sqlite import SqliteStore
from appliance.telemetry.health import Component, Health, Process, State
from appliance.web.answers import Answers
from appliance.web.app import build, routes
from appliance.web.audit import AuditPages
from appliance.web.services import CaCertificate, HostNames, Services, TenantCard
from appliance.web.sessions import Sessions
from certs.revocation_answers import HttpAnswer
from tests.appliance.audit.samples import START, full_task
from tests.appliance.quarantine.place import Place
from tests.appliance.web.client import Client


def _veto(host: str) -> str:
    return "it is listed under never" if host == "never.test" else ""


PEM = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
DER = b"\x30\x03\x02\x01\x01"

ANCHOR = Anchor("main", "Test CA", "CN=Test <CA>", "AB:CD", "EF:01", START, START + 86400, PEM, DER, b"p12")


def process(name: str, state: State = State.OK, detail: str = "", *, stale: bool = False) -> Process:
    return Process(name, 1, START, {"part": Component(state, detail)}, stale)


def healthy(*more: Process) -> Health:
    return Health({item.name: item for item in (process("worker-0"), process("worker-1"), *more)})


def events(count: int, **changes: Any) -> list[dict[str, Any]]:
    """Full events, one each second, oldest first."""
    base = json.loads(json.dumps(to_event(full_task(), Masker(()))))
    return [base | {"id": f"01m7wp7b1h6fk7mwzbsrw{n:05d}", "created_at": START + n, **changes} for n in range(count)]


@dataclass
class Stage:
    store: SqliteStore
    token: str
    services: Services
    clock: ManualClock
    health: Health = field(default_factory=healthy)
    draining: bool = False
    app: ASGIApp = None  # type: ignore[assignment]

    def client(self, address: str = "127.0.0.1") -> Client:
        return Client(self.app, address)

    def program(self) -> Client:
        client = self.client()
        client.headers["authorization"] = f"Bearer {self.token}"
        return client

    async def browser(self) -> Client:
        client = self.client()
        reply = await client.post("/login", {"token": self.token}, sec_fetch_site="same-origin")
        assert reply.status == 303, reply.text
        return client

    def add(self, items: list[dict[str, Any]]) -> None:
        self.store.append([(item, json.dumps(item)) for item in items])


@functools.cache
def _token() -> tuple[str, bytes]:
    """A token and its file, which is slow to make on purpose: once for all tests of this process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "admin-token"
        plain = token.ensure(path)
        assert plain is not None
        return plain, path.read_bytes()


@contextmanager
def stage(folder: Path, hosts: HostNames | None = None) -> Iterator[Stage]:
    clock = ManualClock(START + 3600)
    store = SqliteStore(folder / "audit.db")
    plain, hashed = _token()
    (folder / "admin-token").write_bytes(hashed)
    (folder / "admin-token").chmod(0o600)
    verifier = token.Verifier(folder / "admin-token", clock)
    ca = CaCertificate("main", "CN=Test CA", "AB:CD", START, PEM, DER)
    services = Services(
        audit=AuditSearch(store, clock), health=lambda: made.health, metrics=lambda: b"arcus_x 1.0\n", verifier=verifier,
        revocations=lambda method, path, body: HttpAnswer(200, f"{method} {path} ".encode() + body),
        hosts=hosts or HostNames(frozenset({"127.0.0.1", "localhost", "arcus.example.com"})),
        tenants={
            "acme": TenantCard("acme", "Acme <Corp>", "active", ("10.0.0.0/8",), (".acme.test",), ca),
            "lost": TenantCard("lost", "", "suspended", (), (), None),
        },
        portal="arcus.internal", households={"acme": Household(TenantId("acme"), "Acme <Corp>", lambda: (ANCHOR,))},
        exclusions=Desk(Book(ExclusionStore(store), {"acme": TenantRules(Learning(), _veto)}, clock)),
        quarantine=Place(folder / "held").desk,
        retro=RetroDesk(RetroLedger(store), RetroSearch(store), ["acme", "lost"], lambda _: None, clock),
        coverage=CoverageLedger(store).report, workers=("worker-0", "worker-1"), draining=lambda: made.draining, clock=clock,
    )  # fmt: skip
    made = Stage(store, plain, services, clock)
    made.app = build(services)
    try:
        yield made
    finally:
        verifier.close()
        store.close()


def rebuilt(made: Stage, **changes: Any) -> Client:
    """A program's client of the same application with other services."""
    client = Client(build(replace(made.services, **changes)))
    client.headers["authorization"] = f"Bearer {made.token}"
    return client


def every_route(made: Stage) -> list[Route]:
    answers = Answers(made.services.health)
    return routes(made.services, answers, Sessions(made.clock), AuditPages(made.services, answers))
