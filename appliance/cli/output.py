"""What commands have in common: options, answers on standard output, problems on standard error."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import typer.core

from appliance.domain.errors import ArcusError
from appliance.domain.text import printable

if TYPE_CHECKING:
    from appliance.config.load import Loaded
    from appliance.config.root import AppConfig

OK, FAILED, USAGE = 0, 1, 2

ConfigOption = Annotated[
    Path,
    typer.Option("-c", "--config", metavar="FILE", envvar="ARCUS_CONFIG", help="The configuration file.", show_envvar=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class CliError(ArcusError):
    """What a person did wrong, or what is not there, and what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Group(typer.core.TyperGroup):
    """Commands with their whole first sentence; click itself cuts it short."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        shown = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(limit=1000)) for name, each in shown if not each.hidden])


def group(name: str, about: str) -> typer.Typer:
    """An application of commands that belong together."""
    return typer.Typer(name=name, help=about, cls=Group, no_args_is_help=True, rich_markup_mode=None)


def load_config(path: Path) -> "Loaded":
    """Load. Warnings are what `arcus check` and `arcus run` tell; every other command would repeat them. Raises ConfigError."""
    from appliance.config.load import load

    return load(path)


def known_tenant(config: "AppConfig", tenant: str) -> None:
    """For commands that found nothing: with a misspelt name that would be no good news. Empty: all tenants. Raises CliError."""
    if tenant and all(each.tenant_id != tenant for each in config.tenant):
        raise no_tenant(config, tenant)


def no_tenant(config: "AppConfig", tenant: str) -> CliError:
    """To be raised."""
    return CliError(f"no tenant is named {tenant!r}", f"there are: {', '.join(each.tenant_id for each in config.tenant)}")


def print_json(value: Any) -> None:
    """One document; what JSON does not know is written as text."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], width: int = 60) -> str:
    """Columns as wide as their widest cell. Cells cannot drive the terminal, whatever is in them."""
    cells = [list(headings), *([printable(str(cell), width) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join("  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in cells)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], empty: str, width: int = 60) -> None:
    """A table, or the sentence that there is nothing to show."""
    found = list(rows)
    print(table(headings, found, width) if found else empty)


def examples(*lines: str) -> str:
    """An epilog. Click keeps the lines of a paragraph that begins with a backspace."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def finish(code: int = OK) -> NoReturn:
    """End the command with this exit status."""
    raise typer.Exit(code)
