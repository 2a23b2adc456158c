"""`arcus icap`"""

import json
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.output import CliError, examples, finish, group

app = group("icap", "Our ICAP server, for other proxies.")

Config = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", envvar="ARCUS_CONFIG", show_envvar=True, help="A file with icap_server."),
]
Listen = Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="Without a file: where it listens.")]
Clamd = Annotated[
    str, typer.Option("--clamd", metavar="ADDRESS", help="Without a file: clamd's socket, its host:port, or own to start one.")
]
Workers = Annotated[int, typer.Option("--workers", metavar="N", min=1, max=256, help="Without a file: how many processes.")]
State = Annotated[Path, typer.Option("--state", metavar="DIR", help="Without a file: where sockets and a clamd of ours live.")]


@app.callback()
def _group() -> None:
    """A group, although it has one command."""


@app.command(
    epilog=examples(
        "arcus icap serve -c /etc/arcus/icap.yaml",
        "arcus icap serve --listen 127.0.0.1:1344 --clamd /run/clamav/clamd.ctl --workers 2",
        "arcus icap serve --clamd own",
    )
)
def serve(
    config: Config = None,
    listen: Listen = "127.0.0.1:1344",
    clamd: Clamd = "/run/clamav/clamd.ctl",
    workers: Workers = 1,
    state: State = Path("state-icap"),
) -> None:
    """Serve reqmod, respmod and echo until Ctrl-C or SIGTERM: squid and other ICAP clients point at it."""
    from appliance.app import icap_serve
    from appliance.config.standalone import load_icap, parse_icap

    if config is not None:
        loaded = load_icap(config)
    else:
        loaded = parse_icap(_text(listen, clamd, workers, state), file="the options", base=Path.cwd())
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    finish(icap_serve.serve(loaded.config))


def _text(listen: str, clamd: str, workers: int, state: Path) -> str:
    """The options as a file would say them, so that one way of checking is enough. JSON is YAML."""
    scanner: dict[str, object] = {"type": "clamd"}
    if clamd == "own":
        scanner["managed"] = True
    elif clamd.startswith("/"):
        scanner["socket"] = clamd
    elif ":" in clamd:
        scanner["tcp"] = clamd
    else:
        raise CliError(f"not a clamd: {clamd}", "write /run/clamav/clamd.ctl, 127.0.0.1:3310 or own")
    server = {"listen": {"address": listen}, "workers": workers, "scanner": scanner}
    return json.dumps({"state_dir": str(state.absolute()), "icap_server": server})
