"""`arcus demo`"""

import signal
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.output import (
    FAILED,
    OK,
    CliError,
    ConfigOption,
    JsonOption,
    examples,
    finish,
    group,
    load_config,
    print_json,
    table,
)
from appliance.domain.target import parse_authority

app = group("demo", "Something to try the appliance on.")

Directory = Annotated[Path, typer.Option("--directory", metavar="DIR", help="Where its CA is, or is made.")]
Https = Annotated[str, typer.Option("--https", metavar="HOST:PORT", help="Where HTTPS is served.")]
Http = Annotated[str, typer.Option("--http", metavar="HOST:PORT", help="Where plain HTTP is served.")]


@app.command(epilog=examples("arcus demo origin", "arcus demo origin --https 127.0.0.1:9443 --http 127.0.0.1:9080"))
def origin(directory: Directory = Path("state/demo"), https: Https = "127.0.0.77:9443", http: Http = "127.0.0.77:9080") -> None:
    """Run a small web server with a CA of its own: /, /eicar.com, /bytes/N, /sse, /slow and POST /upload."""
    import asyncio

    from appliance.demo.origin import ensure_ca, serve

    ensure_ca(directory)
    sockets = _bind(https), _bind(http)
    print(f"https://{https}/ and http://{http}/, CA in {directory / 'ca.pem'}; Ctrl-C ends it", flush=True)

    async def run() -> None:
        stop = asyncio.Event()
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, stop.set)
        await serve(directory, *sockets, stop)

    asyncio.run(run())


def _bind(text: str) -> socket.socket:
    try:
        address = parse_authority(text)
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        return socket.create_server((address.host, address.port), family=family)
    except ValueError as error:
        raise CliError(str(error), "write 127.0.0.1:9443") from error
    except OSError as error:
        raise CliError(f"cannot listen on {text}: {error.strerror}", "stop what uses it, or choose another port") from error


@app.command(epilog=examples("arcus demo traffic -c state/default.yaml", "arcus demo traffic -c arcus.yaml --json"))
def traffic(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Send a mix of requests through the running proxy to the test origin, and compare what comes back with what should."""
    from appliance.demo.traffic import run

    try:
        results = run(load_config(config).config)
    except ValueError as error:
        raise CliError(str(error), "the configuration needs an http_proxy server without tls, and demo_origin") from error
    if as_json:
        print_json([asdict(each) | {"ms": round(each.ms, 3)} for each in results])
    else:
        rows = [("ok" if each.ok else "NOT OK", each.what, each.expected, each.outcome, f"{each.ms:.0f}") for each in results]
        print(table(("", "REQUEST", "EXPECTED", "OUTCOME", "MS"), rows, width=90))
    finish(OK if all(each.ok for each in results) else FAILED)
