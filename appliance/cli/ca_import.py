"""`arcus ca import`: a CA made elsewhere, such as a subordinate of a company's own."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.acting import announced
from appliance.cli.ca_choice import TenantOption, generations, of_tenant, tenants_of
from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, load_config, print_json
from appliance.cli.passphrase import PassphraseOption, read_passphrase
from appliance.cli.running import ReloadOption, after_change

if TYPE_CHECKING:
    from certs.authority import Authority

EXAMPLES = (
    "arcus ca import -c arcus.yaml --tenant tenant-a --certificate chain.pem --key ca.key",
    "arcus ca import -c arcus.yaml --tenant tenant-a --certificate chain.pem --key ca.key --passphrase-stdin < secret",
    "arcus ca import -c arcus.yaml --tenant tenant-a --certificate chain.pem --key ca.key --next",
)

FileOption = Annotated[
    Path, typer.Option("--certificate", metavar="FILE", help="PEM: the CA's certificate, then those above it, nearest first.")
]
KeyOption = Annotated[Path, typer.Option("--key", metavar="FILE", help="PEM: its private key, with a passphrase or mode 0600.")]
NextOption = Annotated[bool, typer.Option("--next", help="As the CA that will sign after `arcus ca switch`.")]


def register(app: typer.Typer) -> None:
    app.command("import", epilog=examples(*EXAMPLES))(import_)


def import_(
    config: ConfigOption,
    tenant: TenantOption,
    certificate: FileOption,
    key: KeyOption,
    as_next: NextOption = False,
    passphrase_stdin: PassphraseOption = False,
    reload: ReloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take over a CA with its chain and its key, once all of it has been checked.

    The certificates may name their own root or leave it out. A pair that does not match, a certificate that has expired
    or may not sign servers' certificates, a weak key and a broken chain are refused, with the file and the cause.
    """
    from certs.generations import Generation

    loaded = load_config(config).config
    ca = of_tenant(loaded, tenant)
    if ca.pkcs11 is not None:
        raise CliError(
            f"the key of the CA {ca.name!r} is in a token",
            "import it with the vendor's tools; `certificate` names its certificate",
        )
    place = generations(loaded, ca)
    generation = Generation.NEXT if as_next else Generation.CURRENT
    if generation in place.present():
        raise CliError(*_taken(generation, ca.name))
    authority = _checked(ca.name, certificate, key, passphrase_stdin)
    os.umask(0o077)
    file, sha256 = str(place.certificate(generation)), authority.fingerprint
    with announced(loaded, ca.name, tenants_of(loaded, ca), "imported", f"the {generation} one, sha256 {sha256}"):
        place.install(generation, *_as_pem(authority))
    if as_json:
        print_json({"name": ca.name, "generation": str(generation), "sha256": sha256, "file": file})
    else:
        print(f"{ca.name}: {file} sha256 {sha256}")
    after_change(config, now=reload)


def _taken(generation: str, name: str) -> tuple[str, str]:
    if generation == "next":
        return f"the CA {name!r} has a next one already", "delete it with `arcus ca drop --generation next`"
    return (
        f"there is a CA {name!r} already",
        "import it with --next, and let clients install it before `arcus ca switch`",
    )


def _checked(name: str, certificate: Path, key: Path, from_stdin: bool) -> "Authority":
    """Raises ConfigError with what is wrong. A passphrase is asked for only when the key has one."""
    from appliance.domain.clock import SystemClock
    from certs.authority import AuthorityError, Fault, load

    clock = SystemClock()
    if from_stdin:
        return load(name, certificate, key, clock, read_passphrase(True).encode())
    try:
        return load(name, certificate, key, clock)
    except AuthorityError as error:
        if error.fault is not Fault.ENCRYPTED:
            raise
    return load(name, certificate, key, clock, read_passphrase(False).encode())


def _as_pem(authority: "Authority") -> tuple[bytes, bytes]:
    """The chain, and the key without a passphrase: the appliance has to start without a person."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    chain = b"".join(each.public_bytes(Encoding.PEM) for each in (authority.certificate, *authority.chain))
    return chain, authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
