"""`arcus quarantine`: infected bodies that were kept, and what a person decides about them."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.acting import actor
from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, group, load_config, print_json, print_table
from appliance.domain.quarantine import Item, QuarantineError

if TYPE_CHECKING:
    from appliance.quarantine.desk import QuarantineDesk
    from appliance.quarantine.sealed_file import SealedFile

app = group("quarantine", "Infected bodies that were kept.")

HEADINGS = ("ID", "TENANT", "FOUND", "HOST", "SIGNATURE", "SIZE", "TIMES")

Id = Annotated[str, typer.Argument(metavar="ID", help="The body's id.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; stands in the audit stream with who decided.")]
Tenant = Annotated[str, typer.Option("--tenant", metavar="ID", help="Only this tenant's.")]


@app.command("list", epilog=examples("arcus quarantine list -c arcus.yaml", "arcus quarantine list --tenant default --json"))
def show_all(config: ConfigOption, tenant: Tenant = "", as_json: JsonOption = False) -> None:
    """Show what is in quarantine, newest first."""
    items = _told(lambda desk: desk.items(tenant or None), config)
    if as_json:
        print_json([asdict(item) for item in items])
    else:
        print_table(HEADINGS, map(_row, items), "nothing is in quarantine", width=80)


@app.command(epilog=examples("arcus quarantine show 0123456789abcdef0123456789abcdef -c arcus.yaml --json"))
def show(item_id: Id, config: ConfigOption, tenant: Tenant = "", as_json: JsonOption = False) -> None:
    """Show what is known of one body."""
    item = _told(lambda desk: desk.get(tenant or desk.tenant_of(item_id), item_id), config)
    if as_json:
        print_json(asdict(item))
    else:
        print_table(("WHAT", "VALUE"), asdict(item).items(), "", width=300)


@app.command(
    epilog=examples(
        "arcus quarantine release 0123456789abcdef0123456789abcdef --to sample.bin --reason 'for the vendor' -c arcus.yaml"
    )
)
def release(
    item_id: Id,
    config: ConfigOption,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="A file that does not exist; mode 0600.")],
    reason: Why,
    tenant: Tenant = "",
    as_json: JsonOption = False,
) -> None:
    """Write an infected body into a file, as it was transferred. The body stays in quarantine."""
    if to.exists() or to.is_symlink():
        raise CliError(f"{to} exists", "name a file that does not: nothing is overwritten")

    def step(desk: "QuarantineDesk") -> Item:
        with desk.release(tenant or desk.tenant_of(item_id), item_id, actor(), reason) as opened:
            _write(to, opened)
            return opened.item

    _say(_told(step, config), f"written to {to}: it is infected", as_json)


@app.command(epilog=examples("arcus quarantine delete 0123456789abcdef0123456789abcdef --reason 'ticket 1' -c arcus.yaml"))
def delete(item_id: Id, config: ConfigOption, reason: Why, tenant: Tenant = "", as_json: JsonOption = False) -> None:
    """Delete a body for good."""
    item = _told(lambda desk: desk.delete(tenant or desk.tenant_of(item_id), item_id, actor(), reason), config)
    _say(item, "deleted", as_json)


def _told[T](step: "Callable[[QuarantineDesk], T]", config: Path) -> T:
    from appliance.app.quarantine import desk
    from appliance.domain.clock import SystemClock

    try:
        return step(desk(load_config(config).config, SystemClock()))
    except QuarantineError as error:
        raise CliError(str(error), error.hint) from error


def _write(to: Path, opened: "SealedFile") -> None:
    descriptor = os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.writelines(opened.pieces())
            out.flush()
            os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            to.unlink()
        raise


def _say(item: Item, what: str, as_json: bool) -> None:
    if as_json:
        print_json(asdict(item))
    else:
        print(f"{item.id}: {what}")


def _row(item: Item) -> tuple[object, ...]:
    found = f"{datetime.fromtimestamp(item.at, UTC):%Y-%m-%d %H:%M}"
    signature = "damaged" if item.damaged else item.signature
    return item.id, item.tenant, found, item.host, signature, item.size, item.times
