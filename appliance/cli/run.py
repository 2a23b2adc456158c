"""`arcus run`"""

from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.output import examples, finish

Config = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", envvar="ARCUS_CONFIG", show_envvar=True, help="The configuration file."),
]


def register(app: typer.Typer) -> None:
    app.command(epilog=examples("arcus run", "arcus run -c /etc/arcus/arcus.yaml"))(run)


def run(config: Config = None) -> None:
    """Run the appliance until Ctrl-C or SIGTERM. Without a configuration: a default that listens on loopback only."""
    from appliance.app import parent

    finish(parent.run(config))
