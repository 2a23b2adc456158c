"""`arcus version`"""

import platform
from importlib.metadata import version as installed

import typer

from appliance import __version__
from appliance.cli.output import JsonOption, examples, print_json

PARTS = ("mitmproxy", "cryptography", "pyOpenSSL", "pydantic")


def register(app: typer.Typer) -> None:
    app.command(epilog=examples("arcus version", "arcus version --json"))(version)


def version(as_json: JsonOption = False) -> None:
    """Print the version, and those of the parts that matter for security."""
    parts = {"python": platform.python_version()} | {name: installed(name) for name in PARTS}
    if as_json:
        print_json({"arcus": __version__, **parts})
    else:
        print(f"arcus {__version__} ({', '.join(f'{name} {number}' for name, number in parts.items())})")
