"""`arcus ca rotate`, `switch`, `rollback` and `drop`: replacing a CA while clients come to trust the next one."""

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.acting import announced
from appliance.cli.ca_choice import TenantOption, described, generations, of_tenant, tenants_of
from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, load_config, print_json
from appliance.cli.running import ReloadOption, after_change

if TYPE_CHECKING:
    from appliance.config.ca import Ca
    from appliance.config.root import AppConfig
    from certs.generations import Generations


class Beside(StrEnum):
    NEXT = "next"
    PREVIOUS = "previous"


WhichOption = Annotated[Beside, typer.Option("--generation", metavar="next|previous", help="Which one to delete.")]
LabelOption = Annotated[str, typer.Option("--label", metavar="LABEL", help="The next key, in the token of the current one.")]
AnywayOption = Annotated[bool, typer.Option("--anyway", help="Although clients have not accepted the next CA.")]


_NO_TOKEN = "the key of this CA is in a file, which has no label", "leave --label out"
_NO_LABEL = "the key of this CA is in a token", "make the next key there, and give its label with --label"


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "arcus ca rotate -c arcus.yaml --tenant tenant-a", "arcus ca rotate -c arcus.yaml --tenant tenant-a --label ca-2"
        )
    )(rotate)
    app.command(
        epilog=examples(
            "arcus ca switch -c arcus.yaml --tenant tenant-a", "arcus ca switch -c arcus.yaml --tenant tenant-a --anyway"
        )
    )(switch)
    app.command(epilog=examples("arcus ca rollback -c arcus.yaml --tenant tenant-a"))(rollback)
    app.command(epilog=examples("arcus ca drop -c arcus.yaml --tenant tenant-a --generation previous"))(drop)


def rotate(
    config: ConfigOption,
    tenant: TenantOption,
    label: LabelOption = "",
    reload: ReloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make the CA that will follow the tenant's current one, beside it.

    After a reload both are offered to clients, on the portal and by `arcus ca export --generation next`; certificates
    are still signed by the current one. `arcus ca readiness` says which clients accept the next, `arcus ca switch`
    changes over. Where the key is in a PKCS #11 token, make the next key there first, with the vendor's tools, and give its
    label.
    """
    from appliance.cli.ca_token import install_next
    from appliance.domain.clock import SystemClock
    from certs import nursery
    from certs.generations import Generation

    loaded, ca, place = _chosen(config, tenant)
    if Generation.CURRENT not in place.present():
        raise CliError(f"the CA {ca.name!r} does not exist yet", "make it with `arcus ca init`")
    if Generation.NEXT in place.present():
        raise CliError(f"the CA {ca.name!r} has a next one already", "switch to it, or delete it with `arcus ca drop`")
    if (ca.pkcs11 is not None) is not bool(label):
        raise CliError(*(_NO_TOKEN if label else _NO_LABEL))
    os.umask(0o077)
    seed = nursery.Seed(_next_name(place, ca), ca.key, ca.validity_days)
    with announced(loaded, ca.name, tenants_of(loaded, ca), "rotated", f"next: {seed.common_name}"):
        if ca.pkcs11 is None:
            nursery.ensure(place.home(Generation.NEXT), seed, SystemClock())
        else:
            install_next(loaded, ca, ca.pkcs11, label, seed)
    _tell(loaded, ca, place, as_json)
    after_change(config, now=reload)


def switch(
    config: ConfigOption,
    tenant: TenantOption,
    anyway: AnywayOption = False,
    reload: ReloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """From the next reload on, sign with the next CA. The current one becomes the previous, and can come back.

    Refused while clients of the last days have not accepted the next one, unless with --anyway.
    """
    from appliance.cli.ca_readiness import refuse_unready

    loaded, ca, place = _chosen(config, tenant)
    _must_be(place, "next", ca, "make one with `arcus ca rotate`")
    if not anyway:
        refuse_unready(loaded, ca)
    with announced(loaded, ca.name, tenants_of(loaded, ca), "switched", "although not all clients are ready" if anyway else ""):
        place.switch()
    _tell(loaded, ca, place, as_json)
    after_change(config, now=reload)


def rollback(config: ConfigOption, tenant: TenantOption, reload: ReloadOption = False, as_json: JsonOption = False) -> None:
    """Take a switch back: from the next reload on, the previous CA signs again, and the other one is the next."""
    loaded, ca, place = _chosen(config, tenant)
    _must_be(place, "previous", ca, "only a switch can be taken back")
    with announced(loaded, ca.name, tenants_of(loaded, ca), "rolled back"):
        place.rollback()
    _tell(loaded, ca, place, as_json)
    after_change(config, now=reload)


def drop(
    config: ConfigOption,
    tenant: TenantOption,
    generation: WhichOption,
    reload: ReloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a CA that does not sign, with its key. It cannot be brought back except from a backup."""
    from certs.generations import Generation

    loaded, ca, place = _chosen(config, tenant)
    _must_be(place, str(generation), ca, "`arcus ca show` tells what there is")
    with announced(loaded, ca.name, tenants_of(loaded, ca), "dropped", f"the {generation} one"):
        place.drop(Generation(str(generation)))
    _tell(loaded, ca, place, as_json)
    after_change(config, now=reload)


def _chosen(config: "ConfigOption", tenant: str) -> "tuple[AppConfig, Ca, Generations]":
    loaded = load_config(config).config
    ca = of_tenant(loaded, tenant)
    return loaded, ca, generations(loaded, ca)


def _must_be(place: "Generations", generation: str, ca: "Ca", hint: str) -> None:
    """Asked before the act is announced: what cannot be done is not to stand in the audit stream as done. Raises CliError."""
    if generation not in place.present():
        raise CliError(f"there is no {generation} CA {ca.name!r}", hint)


def _next_name(place: "Generations", ca: "Ca") -> str:
    """The name in the configuration, told apart from that of the current CA: people see both in one list."""
    from cryptography.x509.oid import NameOID

    from certs.authority import read_certificates
    from certs.generations import Generation

    [current, *_] = read_certificates(place.certificate(Generation.CURRENT))
    known = {str(each.value) for each in current.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    names = [ca.common_name, *(f"{ca.common_name[:58]} G{number}" for number in range(2, 1000))]
    return next(name for name in names if name not in known)


def _tell(config: "AppConfig", ca: "Ca", place: "Generations", as_json: bool) -> None:
    there = described(ca, place)
    if as_json:
        print_json({"name": ca.name, "tenants": tenants_of(config, ca), "generations": there})
        return
    for name, each in there.items():
        print(f"{ca.name} {name:8} {each['subject']} sha256 {each['sha256']}")
