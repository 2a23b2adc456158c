"""Key files of CAs that a worker gives up the right to read, before it has heard from anybody."""

from collections.abc import Iterator
from pathlib import Path

from appliance.app.keys import needs_signer
from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.config.scanners import HashScanner
from appliance.landlock import NotClosed, close_files
from certs.generations import KEY


def close_keys(config: AppConfig) -> str:
    """What became of it, in words for health: ``out of reach``, or why this process could read them still.

    Files elsewhere than in the state directory are left as they are: what stands beside them is not ours.
    """
    root = config.state_dir.resolve()
    inside = [path for path in _held_by_signer(config) if root in path.resolve().parents]
    if not inside:
        return "none in state_dir that the signer holds"
    try:
        close_files(inside, list(_read_again(config)))
    except NotClosed as error:
        return f"this process could read them: {error}"
    return "out of reach"


def _read_again(config: AppConfig) -> Iterator[Path]:
    own = config.icap_server
    for scanner in own.judges if own is not None and own.in_workers else ():
        if isinstance(scanner, HashScanner):
            yield from scanner.files
    if config.redis is not None and config.redis.ca_file is not None:
        yield config.redis.ca_file  # with each connection


def _held_by_signer(config: AppConfig) -> Iterator[Path]:
    paths = StatePaths(config.state_dir)
    own = {ca.name for ca in config.ca if ca.signer != "process"}
    yield from (each / KEY for each in paths.ca.glob("*/") if _name(each.name) not in own)  # also of CAs that nobody uses now
    for ca in config.ca:
        if ca.signer == "process":
            yield paths.ca / ca.name / KEY
            yield from filter(None, (ca.private_key, ca.pkcs11.pin_file if ca.pkcs11 else None))
    if needs_signer(config):
        yield from paths.untrusted_ca.glob(f"*/{KEY}")


def _name(folder: str) -> str:
    """The CA's, of whichever generation (``certs.generations``)."""
    return folder[1:].rpartition(".")[0] if folder.startswith(".") else folder
