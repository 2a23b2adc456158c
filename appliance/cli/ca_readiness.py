"""`arcus ca readiness`: who accepts the CA that will follow."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from appliance.cli.ca_choice import TenantOption, generations, of_tenant
from appliance.cli.database import audit_store
from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, load_config, print_json, table
from appliance.domain.readiness import MEANING

if TYPE_CHECKING:
    from appliance.config.ca import Ca
    from appliance.config.root import AppConfig
    from appliance.domain.readiness import Readiness


def register(app: typer.Typer) -> None:
    lines = ("arcus ca readiness -c arcus.yaml --tenant tenant-a", "arcus ca readiness -c arcus.yaml --tenant tenant-a --json")
    app.command(epilog=examples(*lines))(readiness)


def readiness(config: ConfigOption, tenant: TenantOption, as_json: JsonOption = False) -> None:
    """Say which clients of the last two weeks accept the tenant's next CA, who does not, and who has not been asked.

    A client (by its address) is ready when it has asked for something inside TLS under a certificate of the next CA: by
    opening the portal's page, which tests for it, or because `ca.next_share` serves it so. Clients are counted from the
    first start after `arcus ca rotate`.
    """
    loaded = load_config(config).config
    ca = of_tenant(loaded, tenant)
    generations(loaded, ca)
    found = _report(loaded, ca)
    if as_json:
        clients = [asdict(client) for client in found.clients]
        print_json({"name": ca.name, "ready": found.ready, "clients": len(found.clients), "details": clients})
        return
    print(f"{ca.name}: {found.ready} of {len(found.clients)} clients are ready for the next CA")
    rows = [(c.ip, c.tenant, c.user, _time(c.seen), MEANING[c.state], c.agent) for c in found.missing]
    if rows:
        print(table(("CLIENT", "TENANT", "USER", "LAST SEEN", "STATE", "USER AGENT"), rows))


def refuse_unready(config: "AppConfig", ca: "Ca") -> None:
    """Raises CliError unless every client that is known accepts the next CA, and there is one."""
    found = _report(config, ca)
    hint = "`arcus ca readiness` lists them; --anyway switches all the same"
    if not found.clients:
        raise CliError("no client has been seen since the next CA was made", "start Arcus, and wait; or use --anyway")
    if found.missing:
        raise CliError(f"{len(found.missing)} of {len(found.clients)} clients have not accepted the next CA", hint)


def _report(config: "AppConfig", ca: "Ca") -> "Readiness":
    from appliance.app.readiness import report, rotations
    from appliance.domain.clock import SystemClock

    under_way = next((each for each in rotations(config) if each.ca == ca.name), None)
    if under_way is None:
        raise CliError(f"the CA {ca.name!r} has no next one", "make it with `arcus ca rotate`")
    nobody = CliError("there are no records yet, so no client is known", "start Arcus first")
    with audit_store(config, nobody) as store:
        return report(store, under_way, SystemClock().now())


def _time(seen: float) -> str:
    return f"{datetime.fromtimestamp(seen, UTC):%Y-%m-%d %H:%M} UTC"
