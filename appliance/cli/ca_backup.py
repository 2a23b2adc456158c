"""`arcus ca backup` and `arcus ca restore`: all CAs in one file that only a passphrase opens."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.acting import announced
from appliance.cli.output import CliError, ConfigOption, JsonOption, examples, load_config, print_json
from appliance.cli.passphrase import PassphraseOption, read_passphrase
from appliance.cli.running import ReloadOption, after_change

if TYPE_CHECKING:
    from appliance.config.ca import Ca
    from appliance.config.root import AppConfig
    from certs.backup import SavedCa

OutOption = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write; it must not exist.")]
FromOption = Annotated[Path, typer.Option("--from", metavar="FILE", help="The backup.")]


BACKUP_EXAMPLES = (
    "arcus ca backup -c arcus.yaml --out cas.backup",
    "arcus ca backup -c arcus.yaml --out cas.backup --passphrase-stdin < secret",
)


def register(app: typer.Typer) -> None:
    app.command(epilog=examples(*BACKUP_EXAMPLES))(backup)
    app.command(epilog=examples("arcus ca restore -c arcus.yaml --from cas.backup"))(restore)


def backup(
    config: ConfigOption, out: OutOption, passphrase_stdin: PassphraseOption = False, as_json: JsonOption = False
) -> None:
    """Write every CA of the state directory, every generation with its key and what it has revoked, into one file.

    It is encrypted with a key made from the passphrase (scrypt, AES-256-GCM), never without one. Of a CA whose key is in a
    PKCS #11 token the certificate is in it, what it has revoked, and the names of token and key: the token is the operator's to
    keep. CAs whose files the configuration names are not in it.
    """
    from appliance.domain.clock import SystemClock
    from certs.backup import seal

    loaded = load_config(config).config
    if out.exists():
        raise CliError(f"{out} exists", "give another name; a backup is never overwritten")
    cas = list(_saved(loaded))
    if not cas:
        raise CliError("there is no CA in the state directory", "make one with `arcus ca init`")
    sealed = seal(cas, read_passphrase(passphrase_stdin, confirm=True), SystemClock().now())
    private = partial(os.open, mode=0o600)
    with _each_announced(loaded, cas, "backed up", f"with its key, to {out}"), open(out, "xb", opener=private) as file:
        file.write(sealed)
    left_out = [ca.name for ca in loaded.ca if not _is_ours(ca)]
    if as_json:
        print_json({"file": str(out), "cas": [_named(ca) for ca in cas], "not_included": left_out})
        return
    print(f"{out}: {', '.join(map(_named, cas))}")
    if left_out:
        print(f"not included, for their keys are yours to keep: {', '.join(left_out)}")


def restore(
    config: ConfigOption,
    source: FromOption,
    passphrase_stdin: PassphraseOption = False,
    reload: ReloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put the CAs of a backup in place. Nothing is overwritten: when a CA is there already and is another, nothing is done.

    A CA whose key is in a PKCS #11 token comes back without it. The configuration has to name the token (ca[].pkcs11), and the
    token has to be there with that key: what is needed is printed, and `arcus doctor` says whether it is found.
    """
    from certs.backup import MAX_BYTES, unseal

    loaded = load_config(config).config
    with source.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    cas = unseal(data, read_passphrase(passphrase_stdin))
    os.umask(0o077)
    wanted = [ca for ca in cas if not _is_there(loaded, ca)]
    for ca in wanted:
        _check(ca)
        _must_have_a_key(loaded, ca)
    with _each_announced(loaded, wanted, "restored", f"from {source}"):
        for ca in wanted:
            _install(loaded, ca)
    if as_json:
        unchanged = [_named(ca) for ca in cas if ca not in wanted]
        needs = {
            _named(ca): {"token": ca.token, "label": ca.label, "public_key_sha256": _key_sha256(ca)} for ca in cas if ca.token
        }
        print_json({"restored": [_named(ca) for ca in wanted], "unchanged": unchanged, "needs": needs})
    else:
        _restored(cas, wanted)
    if wanted:
        after_change(config, now=reload)


def _restored(cas: "list[SavedCa]", wanted: "list[SavedCa]") -> None:
    print(f"restored: {', '.join(map(_named, wanted)) or 'nothing, all of it is there'}")
    for ca in cas:
        if ca.token:
            print(f"{_named(ca)} needs {_whereabouts(ca)}; `arcus doctor` says whether it is there")


@contextmanager
def _each_announced(config: "AppConfig", cas: "list[SavedCa]", verb: str, note: str) -> Iterator[None]:
    """One act for each CA, whatever its generations."""
    with ExitStack() as stack:
        for name in dict.fromkeys(ca.name for ca in cas):
            tenants = [tenant.tenant_id for tenant in config.tenant if tenant.ca == name]
            stack.enter_context(announced(config, name, tenants or [""], verb, note))
        yield


def _named(ca: "SavedCa") -> str:
    return f"{ca.name} ({ca.generation})"


def _is_ours(ca: "Ca") -> bool:
    """Whether its files are in the state directory."""
    return ca.certificate is None


def _whereabouts(saved: "SavedCa") -> str:
    return f"the key {saved.label!r} in the token {saved.token!r}, with the public key sha256 {_key_sha256(saved)}"


def _key_sha256(saved: "SavedCa") -> str:
    from cryptography import x509

    from certs.fingerprint import spki_sha256

    return spki_sha256(x509.load_pem_x509_certificates(saved.certificates.encode())[0])


def _must_have_a_key(config: "AppConfig", saved: "SavedCa") -> None:
    """Raises CliError when the backup and the configuration do not agree on where the key is."""
    ca = next((each for each in config.ca if each.name == saved.name), None)
    in_token = ca is not None and ca.pkcs11 is not None
    if saved.token and not in_token:
        raise CliError(
            f"the key of {_named(saved)} is in a token, and the configuration names none for it",
            f"it needs {_whereabouts(saved)}: give ca[].pkcs11; nothing has been restored",
        )
    if in_token and not saved.token:
        raise CliError(
            f"the configuration has the key of {saved.name!r} in a token, and the backup has it in a file",
            "take pkcs11 out of the configuration; nothing has been restored",
        )


def _saved(config: "AppConfig") -> Iterator["SavedCa"]:
    from certs.backup import SavedCa
    from certs.generations import Generations
    from certs.revocation_folder import RevocationFolder

    for ca in config.ca:
        place = Generations(config.state_dir / "ca", ca.name)
        for generation in place.present() if _is_ours(ca) else []:
            certificates = place.certificate(generation).read_text()
            key = "" if ca.pkcs11 else place.key(generation).read_text()
            token, label = (ca.pkcs11.token, place.label(generation) or ca.pkcs11.label) if ca.pkcs11 else ("", "")
            listed = RevocationFolder.of(config.state_dir / "pki", _first(certificates)).revoked
            revoked = listed.read_text() if listed.exists() else ""
            yield SavedCa(ca.name, generation, certificates, key, revoked, token, label)


def _first(certificates: str) -> str:
    from cryptography import x509

    from certs.fingerprint import certificate_sha256

    return certificate_sha256(x509.load_pem_x509_certificates(certificates.encode())[0])


def _is_there(config: "AppConfig", saved: "SavedCa") -> bool:
    """Whether this very CA is in its place. Raises CliError when another one is."""
    from certs.generations import Generation, Generations

    place = Generations(config.state_dir / "ca", saved.name)
    generation = Generation(saved.generation)
    if generation not in place.present():
        return False
    file = place.key(generation)
    key = file.read_text() if file.exists() else ""
    if (place.certificate(generation).read_text(), key) == (saved.certificates, saved.key):
        return True
    raise CliError(f"there is another CA in {place.home(generation)}", "move that folder away first; nothing has been restored")


def _check(saved: "SavedCa") -> None:
    """That the two parts belong together. What has expired is restored as well: somebody may want its record."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from certs.backup import BackupError

    try:
        certificate = x509.load_pem_x509_certificates(saved.certificates.encode())[0]
        matches = not saved.key or load_pem_private_key(saved.key.encode(), None).public_key() == certificate.public_key()
    except (ValueError, TypeError) as error:
        raise BackupError(f"the backup of {_named(saved)} cannot be read: {error}") from error
    if not matches:
        raise BackupError(f"the backup of {_named(saved)} holds a key of another CA")


def _install(config: "AppConfig", saved: "SavedCa") -> None:
    from appliance.files import write_whole
    from certs.generations import Generation, Generations
    from certs.revocation_folder import RevocationFolder

    place = Generations(config.state_dir / "ca", saved.name)
    place.install(Generation(saved.generation), saved.certificates.encode(), saved.key.encode(), saved.label)
    if saved.revoked:
        folder = RevocationFolder.of(config.state_dir / "pki", _first(saved.certificates))
        folder.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not folder.revoked.exists():
            write_whole(folder.revoked, saved.revoked.encode())
