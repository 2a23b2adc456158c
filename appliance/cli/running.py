"""The Arcus that runs: how commands find it, ask it, and have it take over what they have changed."""

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from appliance.cli.output import CliError, load_config

WHICH = "The configuration file. Without one: the Arcus that runs in this folder without one."
PATIENCE = 300.0
"""Seconds for a reload: the configured times of the running one end it sooner."""
FileOption = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        envvar="ARCUS_CONFIG",
        show_envvar=True,
        help=WHICH,
    ),
]
ReloadOption = Annotated[bool, typer.Option("--reload", help="Have the running Arcus take the change over at once.")]
_STATE_DIR = re.compile(r"^state_dir\s*:\s*[\"']?([^\"'#\n]+?)[\"']?\s*(?:#.*)?$", re.MULTILINE)


def ask(file: Path | None, command: Literal["reload", "status"], *, tell_file: bool = False) -> dict[str, Any]:
    """Ask the parent that runs on the state directory of ``file``, or of the embedded default. Raises CliError, ConfigError."""
    from appliance.control.client import ask as ask_parent
    from appliance.control.protocol import ProtocolError, write_request

    state = state_of(file)
    given = str(file.absolute()) if file is not None and tell_file else None
    try:
        answer = ask_parent(state / "run", write_request(command, given), PATIENCE)
    except PermissionError as error:
        raise CliError(f"{state}: the running Arcus may not be asked by this user", "ask as its user, or as root") from error
    except TimeoutError as error:
        raise CliError(f"{state}: no answer within {PATIENCE:g} s", "its log says what it does") from error
    except OSError as error:
        if file is not None:
            load_config(file)  # a file that cannot be read names a state_dir only by chance: then its problems are the answer
        hint = "start it with `arcus run`, or name the file that it runs with, or one with the same state_dir"
        raise CliError(f"no Arcus runs on {state}", hint) from error
    except ProtocolError as error:
        raise CliError(str(error), "restart Arcus after it was replaced") from error
    if "error" in answer:
        raise CliError(str(answer["error"]))
    return answer


def state_of(file: Path | None) -> Path:
    """Where the Arcus of this file keeps its state, also when the file is broken: what runs is to be told of that."""
    if file is None:
        return Path("state").absolute()
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CliError(f"{file}: cannot be read: {error.strerror}") from error
    named = _STATE_DIR.search(text)
    return Path(os.path.normpath(file.absolute().parent / (named[1] if named else "state")))


def reload(file: Path | None) -> dict[str, Any]:
    """Reload, and leave with the problems on standard error when that fails. Raises CliError."""
    answer = ask(file, "reload", tell_file=True)
    if not answer["ok"]:
        problems = [problem(each) for each in answer["problems"]]
        raise CliError(f"not reloaded, generation {answer['generation']} stays", "\n".join(problems))
    return answer


def told(answer: dict[str, Any]) -> Iterable[str]:
    """A reload that was done, for a person."""
    yield f"generation {answer['generation']} serves"
    yield from (f"  {change}" for change in answer["changes"] or ["nothing changed in the file"])
    kept = f"; kept: {', '.join(answer['kept'])}" if answer["kept"] else ""
    yield f"  restarted: {', '.join(answer['restarted'])}{kept}"


def after_change(file: Path, *, now: bool) -> None:
    """The end of a command that has changed what the running Arcus uses: do the reload, or say that it is due. On standard
    error, for the answer itself may be JSON."""
    if now:
        for line in told(reload(file)):
            print(line, file=sys.stderr)
    else:
        print(f"for the change to take effect: arcus reload -c {file}", file=sys.stderr)


def problem(each: dict[str, Any]) -> str:
    """One problem of an answer, as FILE:LINE: PATH: MESSAGE."""
    from appliance.domain.errors import Problem

    return str(Problem(each["message"], each["path"], each["file"], each["line"]))
