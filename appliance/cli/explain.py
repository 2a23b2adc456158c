"""`arcus explain`"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, load_config, print_json, table

if TYPE_CHECKING:
    from appliance.explain import Explanation


def register(app: typer.Typer) -> None:
    lines = (
        "arcus explain https://example.com/ --client 10.0.0.7 -c arcus.yaml",
        "arcus explain http://example.com/x --client 10.0.0.7 --user alice --method POST -c arcus.yaml --json",
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
    as_json: JsonOption = False,
) -> None:
    """Tell what would happen to a request: which tenant, which rules, decrypted or not, which way out, and why.

    Nothing is sent. The same code decides as for live traffic. Exit status 0 whether it would be allowed or not.
    """
    from appliance.explain import Explainer, Question, QuestionError

    explainer = Explainer(load_config(config).config)
    try:
        told = explainer.explain(Question(url, client, user, server, method.upper(), tenant_header))
    except QuestionError as error:
        raise CliError(str(error), "see `arcus explain --help`") from error
    finally:
        explainer.close()
    if as_json:
        print_json(asdict(told))
    else:
        _print(told)


def _print(told: "Explanation") -> None:
    rows = [(step.about, step.answer, step.why) for step in told.steps]
    print(table(("STEP", "ANSWER", "WHY"), rows, width=160))
    print(f"\n{told.verdict}: {told.reason}")
