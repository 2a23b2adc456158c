"""`arcus doctor`"""

from dataclasses import asdict

import typer

from appliance.cli.output import FAILED, OK, ConfigOption, JsonOption, examples, finish, load_config, print_json


def register(app: typer.Typer) -> None:
    app.command(epilog=examples("arcus doctor -c arcus.yaml", "arcus doctor -c arcus.yaml --json"))(doctor)


def doctor(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Examine this installation: Python, mitmproxy, file modes, CAs, signer, client certificates, Redis, learning, disk,
    ports, health of what runs, DNS, scanning.

    Changes nothing; what it asks the signer for is thrown away. Exit status 1 when something fails.
    """
    from appliance.doctor import run
    from appliance.doctor.finding import Level

    findings = run(load_config(config).config)
    if as_json:
        print_json([asdict(each) | {"level": each.level.value} for each in findings])
    for each in findings if not as_json else []:
        print(f"{each.level.value:5} {each.what}: {each.detail}")
        if each.hint:
            print(f"      {each.hint}")
    finish(FAILED if any(each.level is Level.FAIL for each in findings) else OK)
