"""`arcus exclusion`: hosts that are not decrypted because of experience, and what a person decides about them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.acting import actor
from appliance.cli.database import audit_store
from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, group, load_config, print_json, print_table

if TYPE_CHECKING:
    from appliance.domain.learning import Record
    from appliance.learning.desk import Desk

app = group("exclusion", "Hosts that are not decrypted: learned, and added.")

HEADINGS = ("ID", "TENANT", "HOST", "PROGRAM", "KIND", "STATE", "UNTIL", "REASON")

Id = Annotated[str, typer.Argument(metavar="ID", help="The exclusion's id.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; stands in the audit stream with who decided.")]
Lifetime = Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 12h, 30d; else as the policy says.")]
Tenant = Annotated[str, typer.Option("--tenant", metavar="ID", help="Only this tenant's.")]


@app.command(
    "list", epilog=examples("arcus exclusion list -c arcus.yaml", "arcus exclusion list --shipped -c arcus.yaml --json")
)
def show(
    config: ConfigOption,
    tenant: Tenant = "",
    shipped: Annotated[bool, typer.Option("--shipped", help="The list that comes with Arcus instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show proposals and exclusions with their evidence, newest first; with --shipped, the list that comes with Arcus."""
    if shipped:
        _show_shipped(as_json)
        return
    with _desk(config) as desk:
        records = desk.records(tenant or None)
    if as_json:
        print_json([_as_dict(record) for record in records])
    else:
        print_table(HEADINGS, map(_row, records), f"no exclusions{f' of tenant {tenant}' if tenant else ''}", width=80)


@app.command(epilog=examples("arcus exclusion approve 01k9zq3v5m8x2t7h4n6p0r1s2d -c arcus.yaml"))
def approve(exclusion_id: Id, config: ConfigOption, reason: Why = "") -> None:
    """Let a proposal hold from now on, for the time that the tenant's policy gives."""
    with _desk(config) as desk:
        _tell(desk.approve(exclusion_id, actor(), reason))


@app.command(epilog=examples("arcus exclusion reject 01k9zq3v5m8x2t7h4n6p0r1s2d -c arcus.yaml"))
def reject(exclusion_id: Id, config: ConfigOption, reason: Why = "") -> None:
    """Refuse a proposal, or end an exclusion, and do not propose it again for that time."""
    with _desk(config) as desk:
        _tell(desk.reject(exclusion_id, actor(), reason))


@app.command(epilog=examples("arcus exclusion remove 01k9zq3v5m8x2t7h4n6p0r1s2d -c arcus.yaml"))
def remove(exclusion_id: Id, config: ConfigOption, reason: Why = "") -> None:
    """End an exclusion; new evidence can bring it back as a proposal."""
    with _desk(config) as desk:
        _tell(desk.remove(exclusion_id, actor(), reason))


@app.command(epilog=examples("arcus exclusion extend 01k9zq3v5m8x2t7h4n6p0r1s2d --for 30d --reason 'ticket 1' -c arcus.yaml"))
def extend(exclusion_id: Id, config: ConfigOption, lifetime: Lifetime = "", reason: Why = "") -> None:
    """Let an exclusion that holds go on, counted from now."""
    seconds = _lifetime(lifetime)
    with _desk(config) as desk:
        _tell(desk.extend(exclusion_id, actor(), reason, ttl=seconds))


@app.command(
    epilog=examples(
        "arcus exclusion add --tenant default app.example.com --reason 'pins its certificate' -c arcus.yaml",
        "arcus exclusion add --tenant default app.example.com --ja4 t13d1516h2_8daaf6152771_e5627efa2ab1 --for 30d "
        "--reason 'vendor confirmed' -c arcus.yaml",
    )
)
def add(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host name or address.")],
    config: ConfigOption,
    tenant: Annotated[str, typer.Option("--tenant", metavar="ID", help="Whose exclusion.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; stands in the audit record.")],
    ja4: Annotated[str, typer.Option("--ja4", metavar="JA4", help="For this program only; else for every client.")] = "",
    lifetime: Lifetime = "",
) -> None:
    """Exclude a host now, for one program or for every client."""
    seconds = _lifetime(lifetime)
    with _desk(config) as desk:
        _tell(desk.add(tenant, host, reason, actor(), ja4, seconds))


def _lifetime(text: str) -> float:
    from appliance.config.values import parse_duration

    try:
        return float(parse_duration(text)) if text else 0.0
    except ValueError as error:
        raise CliError(str(error), "write it as 12h or 30d") from error


@contextmanager
def _desk(config: ConfigOption) -> "Iterator[Desk]":
    """The same desk as behind the pages; a running appliance takes the change within a few seconds."""
    from appliance.app.learning import book
    from appliance.domain.learning import ExclusionError
    from appliance.learning.desk import Desk

    loaded = load_config(config).config
    with audit_store(loaded) as store:
        try:
            yield Desk(book(loaded, store))
        except ExclusionError as error:
            raise CliError(str(error), error.hint) from error


def _show_shipped(as_json: bool) -> None:
    from appliance.policy.exclusions import shipped

    entries = shipped()
    if as_json:
        print_json([asdict(entry) for entry in entries])
    else:
        rows = ((each.host, each.group, each.reason) for each in entries)
        print_table(("HOST", "GROUP", "REASON"), rows, "no hosts are shipped", width=100)


def _as_dict(record: "Record") -> dict[str, object]:
    key = asdict(record.key) | {"kind": record.key.kind.value}
    rest = asdict(record) | {"state": record.state.value}
    rest.pop("key")
    shown: dict[str, object] = json.loads(json.dumps(key | rest))
    return shown


def _row(record: "Record") -> tuple[object, ...]:
    key = record.key
    until = f"{datetime.fromtimestamp(record.until, UTC):%Y-%m-%d %H:%M}"
    return record.id, key.tenant, key.host, key.fingerprint or "any", key.kind.value, record.state.value, until, record.reason


def _tell(record: "Record") -> None:
    over = record.state.value in ("removed", "expired")
    until = "" if over else f", until {datetime.fromtimestamp(record.until, UTC):%Y-%m-%d %H:%M} UTC"
    print(f"{record.id}: {record.key.host} is {record.state.value}{until}")
