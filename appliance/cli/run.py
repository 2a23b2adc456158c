"""`arcus run`"""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from appliance.cli.output import examples

Config = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", envvar="ARCUS_CONFIG", show_envvar=True, help="The configuration file."),
]


def register(app: typer.Typer) -> None:
    app.command(epilog=examples("arcus run", "arcus run -c /etc/arcus/arcus.yaml"))(run)


def run(config: Config = None) -> None:
    """Run the appliance until Ctrl-C or SIGTERM. Without a configuration: a default that listens on loopback only."""
    from appliance.app import parent

    _leave(parent.run(config))


def _leave(status: int) -> NoReturn:
    """Everything is written and closed. Python would take down each module and object, for seconds on a busy machine,
    while the person who typed Ctrl-C waits."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
