"""`arcus retro`: what was delivered and is bad now, who got a file, and hunts."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.acting import actor
from appliance.cli.database import audit_store
from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, group, load_config, print_json, print_table
from appliance.domain.retro import Body, RetroError, Status

if TYPE_CHECKING:
    from appliance.retro.desk import RetroDesk

app = group("retro", "What was delivered and is found bad afterwards.")

BODIES = ("SHA-256", "TENANT", "VERDICT", "SIGNATURE", "BY", "LAST DELIVERED", "DELIVERIES", "SIZE")
FLOWS = ("SHA-256", "TENANT", "TIME", "TASK", "CLIENT", "USER", "BODY OF", "URL")
STATUS = ("TENANT", "BODIES", "DELIVERIES", "BAD", "SAMPLES", "NO SAMPLE", "WAITING", "INCOMPLETE", "LAST HUNT")
_DIGEST = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"

Tenant = Annotated[str, typer.Option("--tenant", metavar="ID", help="Only this tenant's.")]
Digest = Annotated[str, typer.Argument(metavar="SHA256", help="Of the body, in hexadecimal.")]


@app.command("list", epilog=examples("arcus retro list -c arcus.yaml", "arcus retro list --tenant default --json"))
def show_all(config: ConfigOption, tenant: Tenant = "", as_json: JsonOption = False) -> None:
    """Show the bodies that were delivered and are bad, what was found last first."""
    with _desk(config) as desk:
        bodies = desk.found(tenant or None)
    if as_json:
        print_json([_plain(body) for body in bodies])
    else:
        print_table(BODIES, map(_row, bodies), "nothing that was delivered is known to be bad", width=64)


@app.command(epilog=examples(f"arcus retro show {_DIGEST} -c arcus.yaml --json"))
def show(sha256: Digest, config: ConfigOption, tenant: Tenant = "", as_json: JsonOption = False) -> None:
    """Show what is known of one body, bad or not, and the flows that delivered it."""
    with _desk(config) as desk:
        _print(desk.bodies(sha256, tenant or None), as_json)


@app.command(
    epilog=examples(
        f"arcus retro run --sha256 {_DIGEST} -c arcus.yaml",
        "arcus retro run --hashes indicators.txt --tenant default -c arcus.yaml --json",
        "arcus retro run -c arcus.yaml",
    )
)
def run(
    config: ConfigOption,
    sha256: Annotated[list[str] | None, typer.Option("--sha256", metavar="SHA256", help="Who got this? Repeatable.")] = None,
    hashes: Annotated[
        Path | None, typer.Option("--hashes", metavar="FILE", help="Lines of DIGEST or DIGEST NAME; # begins a comment.")
    ] = None,
    tenant: Tenant = "",
    as_json: JsonOption = False,
) -> None:
    """Say at once who got a file; without a hash, have everything that was delivered judged again.

    The second is done by the admin process, in the background; `arcus retro status` says how far it is. It stands in the audit
    stream with who asked for it.
    """
    wanted = [*(sha256 or []), *(_read(hashes) if hashes is not None else [])]
    with _desk(config) as desk:
        if sha256 or hashes is not None:
            _print(desk.hunt(wanted, tenant or None), as_json)
        else:
            _begun(desk.run(tenant or None, actor()), as_json)


@app.command(epilog=examples("arcus retro status -c arcus.yaml", "arcus retro status --tenant default -c arcus.yaml --json"))
def status(config: ConfigOption, tenant: Tenant = "", as_json: JsonOption = False) -> None:
    """Show how much is known of each tenant, what cannot be judged again, and how far the last hunt has come."""
    with _desk(config) as desk:
        _print_status(desk.status(tenant or None), as_json)


def _read(file: Path) -> list[str]:
    from icap.server.scanners.hash_list import parse_line

    found = []
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    entry = parse_line(line)
                except ValueError as error:
                    raise CliError(f"{file}:{number}: {error}", "one hash a line, with or without a name after it") from error
                if entry is not None:
                    found.append(entry[0].hex())
    except OSError as error:
        raise CliError(f"{file}: {error.strerror}", "name a file that you can read") from error
    return found


@contextmanager
def _desk(config: ConfigOption) -> "Iterator[RetroDesk]":
    """The same desk as behind the pages."""
    from appliance.app.retro import desk
    from appliance.domain.clock import SystemClock

    loaded = load_config(config).config
    with audit_store(loaded) as store:
        try:
            yield desk(loaded, store, SystemClock())
        except RetroError as error:
            raise CliError(str(error), error.hint) from error


def _print(bodies: list[Body], as_json: bool) -> None:
    if as_json:
        print_json([_plain(body) for body in bodies])
        return
    print_table(BODIES, map(_row, bodies), "nothing of this was delivered, as far as is known", width=64)
    if bodies:
        print()
        print_table(
            FLOWS, (_flow(body, flow) for body in bodies for flow in body.flows), "no flow is known any more", width=100
        )


def _print_status(found: list[Status], as_json: bool) -> None:
    if as_json:
        print_json([_plain(each) for each in found])
    else:
        print_table(STATUS, map(_numbers, found), "there is no tenant", width=100)


def _begun(found: list[Status], as_json: bool) -> None:
    _print_status(found, as_json)
    if not any(each.samples for each in found):
        print("hint: no samples are kept (retro.samples): only lists of hashes can be asked again", file=sys.stderr)


def _plain(value: Body | Status) -> Any:
    return json.loads(json.dumps(asdict(value)))


def _row(body: Body) -> tuple[object, ...]:
    return (
        body.sha256, body.tenant, body.verdict.value, body.signature or "-", body.found_by or body.service,
        _time(body.last_at), body.deliveries, body.size,
    )  # fmt: skip


def _flow(body: Body, flow: Any) -> tuple[object, ...]:
    return (
        body.sha256[:12], body.tenant, _time(flow.at), flow.task, flow.client, flow.user or "-", flow.side,
        flow.url or flow.host,
    )  # fmt: skip


def _numbers(each: Status) -> tuple[object, ...]:
    limits = ", ".join(f"{word}: {number}" for word, number in sorted(each.limits.items()))
    return (
        each.tenant, each.bodies, each.deliveries, each.bad, each.samples, each.without_sample, each.waiting, limits or "-",
        _hunt(each),
    )  # fmt: skip


def _hunt(each: Status) -> str:
    hunt = each.hunt
    if hunt is None or not hunt.started_at:
        return "none"
    state = "ended" if hunt.ended_at else "goes on"
    return f"{_time(hunt.started_at)}, {hunt.cause}, {state}: {hunt.judged} judged, {hunt.found} found"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
