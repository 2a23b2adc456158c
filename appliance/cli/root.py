"""All commands under one name, and what is shown when one fails: a line, a hint, never a traceback."""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from appliance.cli import (
    audit,
    ca,
    check,
    coverage,
    demo,
    doctor,
    exclusion,
    explain,
    icap,
    quarantine,
    redis,
    reload,
    retro,
    run,
    user,
    version,
)
from appliance.cli.output import FAILED, OK, CliError, Group
from appliance.domain.errors import ArcusError, ConfigError

INTERRUPTED = 130
"""128 + SIGINT, as shells count."""

app = typer.Typer(
    name="arcus",
    help="Arcus, a TLS-inspection appliance.",
    epilog="Exit status: 0 done, 1 failed or found problems, 2 wrong usage, 130 interrupted.",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for module in (run, reload, check, explain, doctor, coverage, version):
    module.register(app)
for group in (ca, icap, redis, user, audit, exclusion, quarantine, retro, demo):
    app.add_typer(group.app)


def command() -> Any:
    """The whole tree, for the documentation."""
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit."""
    # without a handler, Python writes warnings of the parts between our lines; `arcus run` sets up real ones
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        command().main(args=arguments, prog_name="arcus")
    except ConfigError as error:
        _tell(f"{len(error.problems)} problem{'s' if len(error.problems) > 1 else ''}:", "")
        for problem in error.problems:
            print(problem, file=sys.stderr)
        sys.exit(FAILED)
    except CliError as error:
        _tell(str(error), error.hint)
        sys.exit(FAILED)
    except (ArcusError, OSError) as error:
        sys.exit(_failed(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _failed(error: Exception) -> int:
    if isinstance(error, BrokenPipeError):
        # whoever read our output has seen enough; the interpreter would complain when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    if isinstance(error, OSError) and error.filename is not None:
        _tell(f"{error.filename}: {error.strerror}", "")
    else:
        _tell(str(error), "")
    return FAILED


def _tell(message: str, hint: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
