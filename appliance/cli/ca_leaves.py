"""`arcus ca leaves`: which certificates clients are shown, asked of the signer of a running appliance."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, load_config, print_json

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

PATIENCE = 5.0
_EXAMPLES = (
    "arcus ca leaves -c arcus.yaml",
    "arcus ca leaves -c arcus.yaml --host www.example.com",
    "arcus ca leaves -c arcus.yaml --sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --json",
)


def register(app: typer.Typer) -> None:
    app.command(epilog=examples(*_EXAMPLES))(leaves)


def leaves(
    config: ConfigOption,
    host: Annotated[str, typer.Option(metavar="NAME", help="Only those for this host.")] = "",
    sha256: Annotated[str, typer.Option(metavar="HEX", help="Only the one with this fingerprint.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List the certificates that the running signer has made and remembers, newest first, at most 100. Never their keys."""
    from certs.describe import describe

    question = f"host:{host.lower()}" if host else f"sha256:{sha256.replace(':', '').lower()}" if sha256 else ""
    found = [describe(certificate) for certificate in _ask(load_config(config).config.state_dir / "run", question)]
    if as_json:
        print_json([_plain(each) for each in found])
        return
    for each in found:
        print(f"{each.serial}  {each.issuer}  {', '.join(each.names)}\n  sha256 {each.sha256}")
    if not found:
        print("no certificates remembered" + (" that fit" if host or sha256 else ""))


def _plain(notes: Any) -> dict[str, Any]:
    fields = ("serial", "sha256", "issuer", "subject", "not_before", "not_after", "names")
    return {name: getattr(notes, name) for name in fields}


def _ask(run: "Path", question: str) -> "list[x509.Certificate]":
    from certs.signing import place
    from certs.signing.leaf_desk import read_found
    from certs.signing.wire import Decoder, Kind, Message

    try:
        with place.connect(run) as sock:
            sock.settimeout(PATIENCE)
            sock.sendall(Message(Kind.FIND, 1, question.encode()).to_bytes())
            answer = _first(Decoder(), lambda: sock.recv(65536))
    except OSError as error:
        hint = "it runs with `arcus run`, unless every CA has signer: in_process"
        raise CliError(f"the signer cannot be asked: {error.strerror or error}", hint) from error
    if answer.kind is not Kind.ANSWER:
        raise CliError(f"the signer refused: {answer.body.decode('utf-8', 'replace')}", "give a host, a fingerprint or neither")
    return read_found(answer.body)


def _first(decoder: Any, read: Callable[[], bytes]) -> Any:
    while data := read():
        for message in decoder.feed(data):
            return message
    raise OSError("it closed the connection")
