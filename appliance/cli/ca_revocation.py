"""`arcus ca revoke` and `arcus ca revoked`: leaves that clients must not trust any more."""

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.acting import announced
from appliance.cli.ca_choice import TenantOption, load_certificate, of_tenant, tenants_of
from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, load_config, print_json, print_table

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.config.root import AppConfig


class Why(StrEnum):
    """The words of RFC 5280 section 5.3.1 that fit a leaf."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "key_compromise"
    AFFILIATION_CHANGED = "affiliation_changed"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessation_of_operation"
    PRIVILEGE_WITHDRAWN = "privilege_withdrawn"


SerialOption = Annotated[
    str, typer.Option("--serial", metavar="HEX", help="The leaf's serial number, as browsers and audit records show it.")
]
WhyOption = Annotated[Why, typer.Option("--reason", metavar="WORD", help=f"One of: {', '.join(Why)}.")]


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "arcus ca revoke -c arcus.yaml --tenant tenant-a --serial 5f:1c:09",
            "arcus ca revoke -c arcus.yaml --tenant tenant-a --serial 5f1c09 --reason key_compromise",
        )
    )(revoke)
    app.command(epilog=examples("arcus ca revoked -c arcus.yaml --tenant tenant-a --json"))(revoked)


def revoke(
    config: ConfigOption,
    tenant: TenantOption,
    serial: SerialOption,
    reason: WhyOption = Why.KEY_COMPROMISE,
    as_json: JsonOption = False,
) -> None:
    """Put a forged certificate on the CRL of its CA, and have OCSP say so.

    OCSP says so at once, the CRL within seconds where the appliance runs. Clients that asked before may rely on what
    they were told for a day (OCSP) or a week (CRL). Within seconds the next connection gets another certificate. It cannot
    be taken back.
    """
    from appliance.domain.clock import SystemClock
    from certs.revoked import Revoked, add, parse_serial

    loaded = load_config(config).config
    try:
        number = parse_serial(serial)
    except ValueError as error:
        raise CliError(str(error), "the serial is in the certificate, and in the audit record of a connection") from error
    os.umask(0o077)
    entry = Revoked(number, int(SystemClock().now()), str(reason))
    # a serial does not say whose it is: while a CA is being replaced, two of them may have signed it
    lists, ca = _lists_of(loaded, tenant), of_tenant(loaded, tenant)
    with announced(loaded, ca.name, tenants_of(loaded, ca), "revoked a leaf", f"serial {number:x}, {reason}"):
        added = [add(file, entry) for file in lists]
    new = any(added)
    if as_json:
        print_json({"tenant": tenant, "serial": f"{number:x}", "reason": str(reason), "new": new})
    else:
        print(f"{number:x} {'is revoked' if new else 'was revoked before'}")


def revoked(config: ConfigOption, tenant: TenantOption = "default", as_json: JsonOption = False) -> None:
    """List what the CA of a tenant has revoked."""
    from certs.revoked import read

    known = {serial: each for file in _lists_of(load_config(config).config, tenant) for serial, each in read(file).items()}
    entries = sorted(known.values(), key=lambda each: each.at)
    if as_json:
        print_json([{"serial": f"{each.serial:x}", "at": each.at, "reason": each.reason} for each in entries])
        return
    rows = [(f"{each.serial:x}", _time(each.at), each.reason) for each in entries]
    print_table(("serial", "revoked at", "reason"), rows, f"no certificate of tenant {tenant} is revoked")


def _time(at: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _lists_of(config: "AppConfig", tenant: str) -> "list[Path]":
    """The list of each generation of the tenant's CA."""
    from appliance.app.rotation import others
    from certs.revocation_folder import RevocationFolder

    ca = of_tenant(config, tenant)
    authorities = [load_certificate(config, ca), *others(config)[ca.name].values()]
    return [RevocationFolder.of(config.state_dir / "pki", each.fingerprint).revoked for each in authorities]
