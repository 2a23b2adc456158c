"""`arcus reload` and `arcus status`"""

import sys
import time
from typing import Any

import typer

from appliance.cli.output import FAILED, JsonOption, examples, finish, print_json, table
from appliance.cli.running import FileOption, ask, problem, told


def register(app: typer.Typer) -> None:
    lines = ("arcus reload -c /etc/arcus/arcus.yaml", "arcus reload -c /etc/arcus/arcus.yaml --json")
    app.command(epilog=examples(*lines))(reload)
    app.command(epilog=examples("arcus status -c arcus.yaml", "arcus status -c arcus.yaml --json"))(status)


def reload(config: FileOption = None, as_json: JsonOption = False) -> None:
    """Have the running Arcus take over a changed configuration, and CAs and other files that it names, without a restart.

    The file is checked first; with any problem the one that runs stays, and the exit status is 1. Then new processes take
    over, and the old ones finish what they have begun (`reload.drain`). SIGHUP to the parent does the same.
    """
    answer = ask(config, "reload", tell_file=True)
    if as_json:
        print_json(answer)
    elif answer["ok"]:
        for warning in answer["warnings"]:
            print(f"warning: {warning}", file=sys.stderr)
        print("\n".join(told(answer)))
    else:
        print(f"error: not reloaded; generation {answer['generation']} stays", file=sys.stderr)
        for each in answer["problems"]:
            print(problem(each), file=sys.stderr)
    if not answer["ok"]:
        finish(FAILED)


def status(config: FileOption = None, as_json: JsonOption = False) -> None:
    """What runs: the configuration, since when, and every process with its generation."""
    answer = ask(config, "status")
    if as_json:
        print_json(answer)
        return
    used, last = answer["config"], answer["last_reload"]
    print(f"Arcus {answer['arcus']}, generation {answer['generation']} since {_when(used['since'])}")
    print(f"{used['file']} sha256 {used['sha256']}")
    if last is not None:
        print(f"last reload {_when(last['at'])}: {'done' if last['ok'] else 'failed'}")
        for each in last["problems"]:
            print(f"  {problem(each)}")
    print(table(("process", "pid", "generation", "state", "since", "restarts"), map(_row, answer["processes"])))


def _row(process: dict[str, Any]) -> tuple[object, ...]:
    pid = process["pid"] if process["pid"] is not None else "-"
    return process["name"], pid, process["generation"], process["state"], _when(process["since"]), process["restarts"]


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
