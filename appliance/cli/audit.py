"""`arcus audit`: records, from the database."""

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from appliance.cli.database import audit_store
from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, group, known_tenant, load_config, print_table
from appliance.domain.text import printable

if TYPE_CHECKING:
    from appliance.audit.query.search import AuditSearch
    from appliance.config.root import AppConfig

app = group("audit", "The audit log.")

POLL_SECONDS = 0.5

Query = Annotated[str, typer.Argument(metavar="[QUERY]", help="One line of the query language, one argument; empty: all.")]
Limit = Annotated[int, typer.Option("-n", "--limit", metavar="N", min=1, max=1000, help="How many events at most.")]
Tenant = Annotated[str, typer.Option("--tenant", metavar="ID", help="Only this tenant's.")]
Follow = Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for further events until Ctrl-C.")]
_EQUALS: Final = re.compile(r"\s*[a-z_]+\s*=")
HEADINGS = ("TIME", "TENANT", "CLIENT", "USER", "METHOD", "DESTINATION", "STATUS", "ACTION", "REASON")


@app.command(
    epilog=examples(
        "arcus audit query -c arcus.yaml", "arcus audit query 'blocked: true and client: 10.0.0.0/8' -c arcus.yaml --json"
    )
)
def query(config: ConfigOption, text: Query = "", limit: Limit = 100, tenant: Tenant = "", as_json: JsonOption = False) -> None:
    """Print the newest events that match, newest first. With --json: one object per line."""
    from appliance.audit.query.filter import EventFilter

    loaded = load_config(config).config
    with _search(loaded) as search:
        events = search.list(EventFilter(tenant=tenant or None, query=text, limit=limit)).events
    if not events:
        known_tenant(loaded, tenant)
    if as_json:
        _print_lines(events)
    else:
        print_table(HEADINGS, map(_row, events), "no events match" if text or tenant else "no events yet")
        if not events and _EQUALS.match(text):
            print("hint: a field is asked with a colon, as in reason:malware_found; this looked for the text", file=sys.stderr)


@app.command(epilog=examples("arcus audit tail -c arcus.yaml", "arcus audit tail 'action: block' -c arcus.yaml --json"))
def tail(
    config: ConfigOption,
    text: Query = "",
    limit: Limit = 10,
    tenant: Tenant = "",
    follow: Follow = True,
    as_json: JsonOption = False,
) -> None:
    """Print the last events that match, oldest first, then new ones as they come. With --json: one object per line."""
    from appliance.audit.query.filter import EventFilter

    wanted = EventFilter(tenant=tenant or None, query=text, limit=limit)
    show = _print_lines if as_json else _print_rows
    with _search(load_config(config).config) as search:
        cursor = search.tail().next
        show(search.list(wanted).events[::-1])
        wanted = EventFilter(tenant=tenant or None, query=text)
        while follow:
            page = search.tail(cursor, wanted)
            show(page.events)
            cursor = page.next
            time.sleep(0 if page.events else POLL_SECONDS)


@contextmanager
def _search(config: "AppConfig") -> "Iterator[AuditSearch]":
    from appliance.audit.errors import QueryError
    from appliance.audit.query.search import AuditSearch

    with audit_store(config) as store:
        try:
            yield AuditSearch(store)
        except QueryError as error:
            raise CliError(str(error), "fields and syntax are in docs/audit.md") from error


def _print_lines(events: list[dict[str, Any]]) -> None:
    for event in events:
        print(json.dumps(event, ensure_ascii=False), flush=True)


def _print_rows(events: list[dict[str, Any]]) -> None:
    for event in events:
        print("  ".join(printable(str(cell), 60) for cell in _row(event)), flush=True)


def _row(event: dict[str, Any]) -> tuple[object, ...]:
    moment = datetime.fromtimestamp(float(event.get("created_at") or 0), UTC)
    port = event.get("destination_port")
    told = event.get("detail") if event.get("act") or event.get("kind") == "retro" else ""
    destination = event.get("url") or told or f"{event.get('destination_host') or '-'}:{port or '-'}"
    names = ("status", "action", "reason")
    return (
        f"{moment:%Y-%m-%d %H:%M:%S}",
        *(event.get(name) or "-" for name in ("tenant_id", "source_ip", "user_id", "method")),
        destination,
        *(event.get(name) or "-" for name in names),
    )
