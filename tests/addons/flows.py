"""Flows built by hand, with the notes that the addons expect on them."""

from dataclasses import dataclass
from typing import Any

from mitmproxy.connection import Client, Server
from mitmproxy.http import HTTPFlow, Request, Response

from addons.carry import attach
from appliance.domain.facts import ClientFacts, UserFacts
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes, TaskNotes
from appliance.domain.target import Target

A = TenantId("a")
ALICE = UserFacts("alice", "staff")


@dataclass(frozen=True)
class Page:
    """What stands for a page of ours: its body is the reason word."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def page(notes: TaskNotes, accept: str) -> Page:
    return Page(notes.reason.status, (("X-Arcus-Reason", notes.reason.word), ("X-Accept", accept)), notes.reason.word.encode())


def conn(**fields: Any) -> ConnNotes:
    fields = {"client": ClientFacts("10.0.0.7", 40_000, "explicit"), "started": 1.0, "tenant": A} | fields
    return ConnNotes(**fields)


def flow(
    method: str = "GET",
    url: str = "http://example.test/path?q=1",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    notes: ConnNotes | None = None,
    *,
    http2: bool = False,
) -> HTTPFlow:
    """A flow whose connection has notes, but no task yet."""
    client = Client(peername=("10.0.0.7", 40_000), sockname=("127.0.0.1", 8080), timestamp_start=1.0)
    client.arcus = notes or conn()  # type: ignore[attr-defined]
    made = HTTPFlow(client, Server(address=("example.test", 80)))
    made.request = Request.make(method, url, body, headers or {})
    if "Host" in (headers or {}):
        made.request.headers["Host"] = headers["Host"]  # ``make`` writes the URL's
    if not body:
        made.request.headers.pop("content-length", None)
    if http2:
        made.request.http_version, made.request.authority = "HTTP/2.0", "example.test"
    return made


def task(made: HTTPFlow, **fields: Any) -> TaskNotes:
    """Give the flow a task, as ``identify`` does."""
    given: ConnNotes = made.client_conn.arcus
    target = Target(made.request.host, made.request.port)
    fields = {
        "target": target, "scheme": made.request.scheme, "method": made.request.method, "path": made.request.path,
    } | fields  # fmt: skip
    notes = TaskNotes(given, **fields)
    attach(made, notes)
    return notes


def answered(made: HTTPFlow, status: int = 200, body: bytes = b"hello", headers: dict[str, str] | None = None) -> Response:
    """Put the server's answer on the flow."""
    made.response = Response.make(status, body, headers or {})
    return made.response
