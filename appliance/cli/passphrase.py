"""Secrets that a person gives: never as arguments, which others could see in the list of processes."""

import getpass
import sys
from typing import Annotated

import typer

from appliance.cli.output import CliError

MAX_LENGTH = 1024

PassphraseOption = Annotated[
    bool, typer.Option("--passphrase-stdin", help="Read the passphrase from standard input, one line, instead of asking.")
]


def read_passphrase(from_stdin: bool, *, confirm: bool = False) -> str:
    """One line of standard input, or what is typed at the terminal. Raises CliError when there is neither, or nothing."""
    if not from_stdin and not sys.stdin.isatty():
        raise CliError("a passphrase is needed, and standard input is no terminal", "give it with --passphrase-stdin")
    given = sys.stdin.readline(MAX_LENGTH + 2).rstrip("\r\n") if from_stdin else _asked(confirm)
    if not given:
        raise CliError("no passphrase was given", "give one line")
    if len(given) > MAX_LENGTH:
        raise CliError(f"the passphrase is longer than {MAX_LENGTH} characters")
    return given


def _asked(confirm: bool) -> str:
    given = getpass.getpass("Passphrase: ")
    if confirm and given != getpass.getpass("Again: "):
        raise CliError("the two are not the same", "try again")
    return given
