"""The signer: who may read the keys, and whether it signs."""

import asyncio
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from appliance.app.keys import needs_signer, public_authorities
from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.doctor.finding import Finding, fail, ok
from appliance.doctor.ports import is_running
from appliance.domain.errors import ArcusError, ConfigError
from certs.authority import PublicAuthority
from certs.profile import LeafProfile
from certs.scope import Scope
from certs.signing import place
from certs.signing.client import SignerClient

PROBE: Final = "doctor.invalid"
"""Whose leaf is asked for: a name that no server can have (RFC 6761 section 6.4)."""


def examine(config: AppConfig) -> Iterator[Finding]:
    yield _key_files(config)
    if not needs_signer(config):
        return
    if not is_running(config):
        yield ok("signer", "is started by `arcus run`, which does not run now")
        return
    yield _socket(StatePaths(config.state_dir).run)
    yield from asyncio.run(_signs(config))


def _key_files(config: AppConfig) -> Finding:
    """Modes; the CA keys in the state directory are looked at there."""
    paths = StatePaths(config.state_dir)
    files = [ca.private_key for ca in config.ca if ca.private_key is not None]
    files += [paths.leaf_cache_key, paths.proceed_key, paths.admin_token]
    files += [each.tls.private_key for each in config.server if each.type == "http_proxy" and each.tls is not None]
    files += sorted(paths.untrusted_ca.glob("*/*.key"))
    there = [file for file in files if file.exists()]
    exposed = [file for file in there if stat.S_IMODE(file.stat().st_mode) & 0o077]
    if exposed:
        names = " ".join(map(str, exposed))
        return fail("key files", f"others can read {names}", f"chmod go= {names}; then replace what they hold")
    return ok("key files", f"{len(there)} besides the CAs', readable for their owner only")


def _socket(run: Path) -> Finding:
    file = run / place.NAME
    try:
        mode = file.lstat().st_mode
    except OSError as error:
        return fail("signer socket", f"{file}: {error.strerror}", "restart Arcus, which makes it")
    if not stat.S_ISSOCK(mode) or stat.S_IMODE(mode) & 0o077:
        return fail(
            "signer socket", f"{file} has mode {stat.S_IMODE(mode):04o}, or is no socket", "restart Arcus, which makes it"
        )
    return ok("signer socket", f"{file}, mode {stat.S_IMODE(mode):04o}")


async def _signs(config: AppConfig) -> list[Finding]:
    """A leaf is asked for and looked at; its key is thrown away."""
    try:
        known = public_authorities(config)
    except ConfigError as error:
        return [fail("signer", str(error), "repair the files, then restart Arcus")]
    run = StatePaths(config.state_dir).run
    client = SignerClient(lambda: place.connect(run))
    client.start()
    try:
        return [await _probe(client, known[ca.name]) for ca in config.ca if ca.signer == "process"]
    finally:
        await client.close()


async def _probe(client: SignerClient, authority: PublicAuthority) -> Finding:
    what = f"signer for {authority.name}"
    try:
        issued = await client.leaf(Scope("", authority.fingerprint), LeafProfile.for_host(PROBE))
    except ArcusError as error:
        hint = "examine as the user that Arcus runs as; see the log of the signer; after a change of a CA, restart Arcus"
        return fail(what, f"does not sign: {error}", hint)
    if not _is_from(issued.certificate, authority):
        return fail(what, "signs with another key than the CA's", "restart Arcus: its files were changed while it runs")
    return ok(what, "signs")


def _is_from(leaf: x509.Certificate, authority: PublicAuthority) -> bool:
    try:
        leaf.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
