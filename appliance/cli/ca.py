"""`arcus ca`: signing CAs. The private key is never shown and never exported."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli import ca_backup, ca_import, ca_leaves, ca_readiness, ca_revocation, ca_rotation
from appliance.cli.acting import announced
from appliance.cli.ca_choice import (
    TenantOption,
    certificate_file,
    described,
    generations,
    load_certificate,
    of_tenant,
    subject,
    tenants_of,
)
from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, group, load_config, print_json

if TYPE_CHECKING:
    from appliance.config.ca import Ca
    from appliance.config.root import AppConfig
    from certs.authority import PublicAuthority

app = group("ca", "Signing CAs, by tenant.")

for part in (ca_rotation, ca_readiness, ca_import, ca_backup, ca_leaves, ca_revocation):
    part.register(app)


class Format(StrEnum):
    PEM = "pem"
    DER = "der"
    P12 = "p12"


class Offered(StrEnum):
    CURRENT = "current"
    NEXT = "next"


@app.command(epilog=examples("arcus ca init -c arcus.yaml"))
def init(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Make the CAs that do not exist yet. `arcus run` does this, too."""
    from appliance.app.paths import StatePaths

    loaded = load_config(config).config
    os.umask(0o077)
    StatePaths(loaded.state_dir).create()
    made = {ca.name: _made(loaded, ca) for ca in loaded.ca}
    if as_json:
        print_json([_described(loaded, ca, made[ca.name]) for ca in loaded.ca])
        return
    for ca in loaded.ca:
        print(f"{ca.name}: {certificate_file(loaded, ca)} sha256 {made[ca.name].fingerprint}")


def _made(config: "AppConfig", ca: "Ca") -> "PublicAuthority":
    """The CA, which is announced only where there was none."""
    from appliance.app.parts import authority

    if certificate_file(config, ca).exists() or ca.certificate is not None:
        return authority(config, ca.name).public
    with announced(config, ca.name, tenants_of(config, ca), "made", ca.common_name):
        return authority(config, ca.name).public


@app.command(epilog=examples("arcus ca show -c arcus.yaml", "arcus ca show -c arcus.yaml --tenant tenant-a --json"))
def show(config: ConfigOption, tenant: TenantOption = "", as_json: JsonOption = False) -> None:
    """Show the CA of a tenant, or all; during a rotation the next and the previous one as well."""
    loaded = load_config(config).config
    wanted = [of_tenant(loaded, tenant)] if tenant else loaded.ca
    shown = [_described(loaded, ca, load_certificate(loaded, ca)) | _beside(loaded, ca) for ca in wanted]
    if as_json:
        print_json(shown)
        return
    for each in shown:
        print(f"{each.pop('name')}:")
        for key, value in each.items():
            print(f"  {key.replace('_', ' '):12} {_spelled(value)}")


@app.command(
    epilog=examples(
        "arcus ca export -c arcus.yaml --tenant tenant-a > ca.pem",
        "arcus ca export -c arcus.yaml --tenant tenant-a --format p12 -o ca.p12",
    )
)
def export(
    config: ConfigOption,
    tenant: TenantOption = "default",
    form: Annotated[
        Format, typer.Option("--format", metavar="pem|der|p12", help="pem, der (Windows, Android) or p12.")
    ] = Format.PEM,
    generation: Annotated[
        Offered, typer.Option("--generation", metavar="current|next", help="The CA that signs, or the one that will.")
    ] = Offered.CURRENT,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to; else standard output.")
    ] = None,
) -> None:
    """Write the certificate that clients of a tenant install."""
    from certs import export as forms

    loaded = load_config(config).config
    authority = load_certificate(loaded, of_tenant(loaded, tenant), str(generation))
    write = {Format.PEM: forms.pem, Format.DER: forms.der, Format.P12: forms.p12}[form]
    if output is not None:
        output.write_bytes(write(authority))
    elif form is not Format.PEM and sys.stdout.isatty():
        raise CliError(f"{form.value} is binary, and standard output is a terminal", "add -o FILE")
    else:
        sys.stdout.buffer.write(write(authority))


def _spelled(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['subject']} sha256 {value['sha256']}"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _beside(config: "AppConfig", ca: "Ca") -> dict[str, Any]:
    """``next`` and ``previous``, where there are such. A CA whose files are the operator's has neither."""
    if ca.certificate is not None:
        return {}
    return {name: each for name, each in described(ca, generations(config, ca)).items() if name != "current"}


def _described(config: "AppConfig", ca: "Ca", authority: "PublicAuthority") -> dict[str, Any]:
    from certs.export import fingerprints

    certificate = authority.certificate
    return {
        "name": ca.name,
        "file": str(certificate_file(config, ca)),
        "subject": subject(authority),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        **fingerprints(authority),
        "tenants": tenants_of(config, ca),
    }
