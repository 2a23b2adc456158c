"""Which CA a command is about, and where its files are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.output import CliError, no_tenant

if TYPE_CHECKING:
    from appliance.config.ca import Ca
    from appliance.config.root import AppConfig
    from certs.authority import PublicAuthority
    from certs.generations import Generation, Generations

TenantOption = Annotated[str, typer.Option("--tenant", metavar="ID", help="Whose CA.")]


def of_tenant(config: "AppConfig", tenant: str) -> "Ca":
    """The CA that signs for this tenant. Raises CliError."""
    found = next((each for each in config.tenant if each.tenant_id == tenant), None)
    if found is None:
        raise no_tenant(config, tenant)
    return next(ca for ca in config.ca if ca.name == found.ca)


def tenants_of(config: "AppConfig", ca: "Ca") -> list[str]:
    return [tenant.tenant_id for tenant in config.tenant if tenant.ca == ca.name]


def certificate_file(config: "AppConfig", ca: "Ca") -> Path:
    return ca.certificate or config.state_dir / "ca" / ca.name / "ca.pem"


def load_certificate(config: "AppConfig", ca: "Ca", generation: str = "current") -> "PublicAuthority":
    """A CA without its key. Raises CliError when there is none, ConfigError when it cannot be used."""
    from appliance.domain.clock import SystemClock
    from certs.authority import load_public
    from certs.generations import Generation

    file = certificate_file(config, ca)
    if generation != "current":
        file = generations(config, ca).certificate(Generation(generation))
        if not file.exists():
            raise CliError(f"there is no {generation} CA {ca.name!r}", "make it with `arcus ca rotate`")
    if not file.exists():
        raise CliError(f"the CA {ca.name!r} does not exist yet: {file}", "make it with `arcus ca init`")
    return load_public(ca.name, file, SystemClock())


def generations(config: "AppConfig", ca: "Ca") -> "Generations":
    """The generations of a CA that is kept in the state directory. Raises CliError for one whose files are the operator's."""
    from certs.generations import Generations

    if ca.certificate is not None:
        raise CliError(
            f"the CA {ca.name!r} is what certificate and private_key of the configuration say",
            "change those files yourself, or take both keys out of the configuration and use `arcus ca import`",
        )
    return Generations(config.state_dir / "ca", ca.name)


def certificate_of(ca: "Ca", place: "Generations", generation: "Generation") -> "PublicAuthority":
    """Also of one that has expired: it is being replaced for that."""
    from certs.authority import PublicAuthority, read_certificates

    first, *chain = read_certificates(place.certificate(generation))
    return PublicAuthority(ca.name, first, tuple(chain))


def described(ca: "Ca", place: "Generations") -> dict[str, dict[str, str]]:
    """Every generation that there is, by its name, as JSON has it."""
    there = {str(each): certificate_of(ca, place, each) for each in place.present()}
    return {name: {"subject": subject(public), "sha256": public.fingerprint} for name, public in there.items()}


def subject(public: "PublicAuthority") -> str:
    return public.certificate.subject.rfc4514_string()
