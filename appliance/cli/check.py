"""`arcus check`"""

import sys
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.output import FAILED, ConfigOption, JsonOption, examples, finish, load_config, print_json
from appliance.domain.errors import ConfigError, Problem

if TYPE_CHECKING:
    from appliance.config.load import Loaded


class Graph(StrEnum):
    MERMAID = "mermaid"


GraphOption = Annotated[
    Graph | None, typer.Option("--graph", metavar="mermaid", help="Print servers, tenants and escapers as a graph.")
]


def register(app: typer.Typer) -> None:
    lines = ("arcus check -c arcus.yaml", "arcus check -c arcus.yaml --json", "arcus check -c arcus.yaml --graph mermaid")
    app.command(epilog=examples(*lines))(check)


def check(config: ConfigOption, as_json: JsonOption = False, graph: GraphOption = None) -> None:
    """Check a configuration. Exit status 1 and one line per problem, as FILE:LINE: PATH: MESSAGE, when it cannot be used.

    A file with `icap_server`, and besides it `state_dir` and `log` at most, is checked as `arcus icap serve` reads it.
    """
    from appliance.config.standalone import is_standalone, load_icap

    try:
        alone = is_standalone(config)
        loaded = load_icap(config) if alone else _for_run(config)
    except ConfigError as error:
        _refuse(error.problems, as_json)
    if graph is not None:
        from appliance.config.graph import mermaid

        print(mermaid(loaded.config), end="")
    elif as_json:
        print_json({"ok": True, "problems": [], "warnings": _plain(loaded.warnings), "summary": _summary(loaded)})
    else:
        for warning in loaded.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        counts = ", ".join(_count(number, what) for what, number in _summary(loaded).items())
        use = " for `arcus icap serve`" if alone else ""
        print(f"{config}: ok{use} ({counts}; {_count(len(loaded.warnings), 'warnings')})")


def _for_run(config: Path) -> "Loaded":
    from appliance.app.soundness import examine

    loaded = load_config(config)
    examine(loaded.config)
    return _with_expiry(loaded)


def _count(number: int, things: str) -> str:
    return f"{number} {things if number != 1 else things.removesuffix('s')}"


def _refuse(problems: list[Problem], as_json: bool) -> None:
    if as_json:
        print_json({"ok": False, "problems": _plain(problems), "warnings": []})
    for problem in problems if not as_json else []:
        print(problem, file=sys.stderr)
    finish(FAILED)


def _with_expiry(loaded: "Loaded") -> "Loaded":
    """The same, with a warning for each CA that ends soon."""
    from appliance.app.ca_watch import warnings
    from appliance.domain.clock import SystemClock

    return replace(loaded, warnings=(*loaded.warnings, *warnings(loaded.config, SystemClock())))


def _summary(loaded: "Loaded") -> dict[str, int]:
    config = loaded.config
    if not config.server and config.icap_server is not None:
        return {"ICAP workers": config.icap_server.workers, "scanners": len(config.icap_server.judges)}
    return {
        "servers": len(config.server),
        "tenants": len(config.tenant),
        "escapers": len(config.escaper),
        "auditors": len(config.auditor),
    }


def _plain(problems: list[Problem] | tuple[Problem, ...]) -> list[dict[str, Any]]:
    return [asdict(problem) for problem in problems]
