"""`arcus explain`"""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, load_config, print_json, table
from appliance.domain.errors import ConfigError

if TYPE_CHECKING:
    from appliance.app.looking import Looking
    from appliance.config.root import AppConfig
    from appliance.explanation import Explanation
    from appliance.policy.exclusions import Exclusions


def register(app: typer.Typer) -> None:
    lines = (
        "arcus explain https://example.com/ --client 10.0.0.7 -c arcus.yaml",
        "arcus explain http://example.com/x --client 10.0.0.7 --user alice --method POST -c arcus.yaml --json",
        "arcus explain https://printer.example/ --client 10.0.0.7 --sni - -c arcus.yaml",
        "arcus explain https://cdn.example/ --client 10.0.0.7 --sni other.example --at 2026-03-02T21:30+01:00 -c arcus.yaml",
    )
    app.command(epilog=examples(*lines))(explain)


def explain(
    url: Annotated[str, typer.Argument(metavar="URL", help="http://..., https://..., or host[:port] for https.")],
    config: ConfigOption,
    client: Annotated[str, typer.Option("--client", metavar="IP", help="The client's address.")],
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="As this user, the password taken as right.")] = "",
    server: Annotated[str, typer.Option("--server", metavar="NAME", help="By this listener; else the first.")] = "",
    method: Annotated[str, typer.Option("--method", metavar="METHOD", help="The HTTP method.")] = "GET",
    tenant_header: Annotated[str, typer.Option("--tenant-header", metavar="ID", help="With this X-Tenant-ID.")] = "",
    sni: Annotated[
        str, typer.Option("--sni", metavar="NAME", help="With this server name in TLS, - for none; else the URL's host.")
    ] = "",
    ja4: Annotated[str, typer.Option("--ja4", metavar="JA4", help="By a client with this fingerprint.")] = "",
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="At this time (ISO 8601; UTC without an offset).")] = "",
    content_type: Annotated[str, typer.Option("--content-type", metavar="TYPE", help="With a body of this type.")] = "",
    size: Annotated[int | None, typer.Option("--size", metavar="BYTES", min=0, help="With a body of this length.")] = None,
    address: Annotated[str, typer.Option("--address", metavar="IP", help="The destination's address.")] = "",
    look: Annotated[bool, typer.Option("--look", help="Resolve the name and look at the server, where a rule asks.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what would happen to a request: which tenant and rules, decrypted or not, scanned by what, which way out, and why.

    For one of the portal's names it tells that the portal answers. Nothing is sent without --look. The same code decides
    as for live traffic. Exit status 0 whether it would be allowed or not.
    """
    from appliance.explain import Explainer
    from appliance.question import Question, QuestionError

    loaded = load_config(config).config
    network = _network(loaded) if look else None
    explainer = Explainer(loaded, network)
    _learn(loaded, explainer.exclusions)
    try:
        told = explainer.explain(
            Question(
                url, client, user, server, method.upper(), tenant_header, sni, ja4, _seconds(at), content_type, size, address
            )
        )
    except QuestionError as error:
        raise CliError(str(error), "see `arcus explain --help`") from error
    finally:
        explainer.close()
        if network is not None:
            network.close()
    if as_json:
        print_json(asdict(told))
    else:
        _print(told)


def _network(config: "AppConfig") -> "Looking":
    from appliance.app.looking import Looking

    try:
        return Looking(config)
    except ConfigError as error:
        raise CliError(str(error), "explain without --look, or start the appliance once, which makes its CAs") from error


def _learn(config: "AppConfig", table: "Exclusions") -> None:
    """Exclusions that were learned or added, from the file that tells the workers of them."""
    from appliance.app.exclusions import snapshot
    from appliance.app.paths import StatePaths

    file = snapshot(StatePaths(config.state_dir).exclusions, table)
    file.refresh()
    if file.trouble:
        print(f"warning: exclusions that were learned or added are not looked at: {file.trouble}", file=sys.stderr)


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise CliError(f"not a time: {text!r}", "write 2026-03-02T21:30 or 2026-03-02T21:30+01:00") from error
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _print(told: "Explanation") -> None:
    rows = [(step.about, step.answer, step.why) for step in told.steps]
    print(table(("STEP", "ANSWER", "WHY"), rows, width=160))
    print(f"\n{told.verdict}: {told.reason}")
