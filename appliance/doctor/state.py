"""The state directory: who can look into it, the CAs in it, and the room it has."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.app.parts import authority as load_authority
from appliance.app.paths import StatePaths
from appliance.config.ca import Ca
from appliance.config.root import AppConfig
from appliance.doctor.finding import Finding, fail, ok, warn
from appliance.domain.clock import Clock, SystemClock
from appliance.domain.errors import ConfigError
from certs.authority import load
from certs.expiry import ADVICE, expiry

LITTLE: Final = 512 * 1024 * 1024
"""Less room than this is a failure; less than the spool may take is a warning."""


def directory(config: AppConfig) -> Iterator[Finding]:
    root = config.state_dir
    if not root.exists():
        yield warn("state directory", f"{root} does not exist yet", "`arcus run` makes it")
        return
    exposed = [path for path in (root, root / "ca", root / "spool") if path.exists() and _mode(path) & 0o077]
    exposed += [path for path in (root / "ca").glob("*/*.key") if _mode(path) & 0o077]
    for path in exposed:
        yield fail("state directory", f"{path} is open to others (mode {_mode(path):04o})", f"chmod go= {path}")
    if not os.access(root, os.W_OK | os.X_OK):
        yield fail("state directory", f"{root} cannot be written by this user")
    elif not exposed:
        yield ok("state directory", f"{root}, mode {_mode(root):04o}")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def authorities(config: AppConfig, clock: Clock | None = None) -> Iterator[Finding]:
    for ca in config.ca:
        yield _authority(config, ca, clock or SystemClock())


def _authority(config: AppConfig, ca: Ca, clock: Clock) -> Finding:
    what, home = f"CA {ca.name}", StatePaths(config.state_dir).ca / ca.name
    certificate, key = ca.certificate or home / "ca.pem", ca.private_key or home / "ca.key"
    if ca.certificate is None and not certificate.exists():
        return warn(what, "does not exist yet", "`arcus ca init` makes it")
    try:
        authority = load_authority(config, ca.name) if ca.pkcs11 else load(ca.name, certificate, key, clock)
    except ConfigError as error:
        return fail(what, str(error), "repair the files, or move them away and run `arcus ca init`")
    ends, end = expiry((authority.certificate, *authority.chain), clock.now()), authority.certificate.not_valid_after_utc
    if ends.text:
        return warn(what, ends.text.partition(":")[0], ADVICE)
    return ok(what, f"valid until {end:%Y-%m-%d}, sha256 {authority.fingerprint}")


def disk(config: AppConfig) -> Iterator[Finding]:
    folder = config.state_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    told = f"{free / 1024**3:.1f} GiB free at {folder}"
    if free < LITTLE:
        yield fail("disk", told, "audit records need room: when there is none, traffic is refused")
    elif free < config.audit.spool_max:
        yield warn("disk", told, f"the audit spool may take {config.audit.spool_max / 1024**3:.1f} GiB (audit.spool_max)")
    else:
        yield ok("disk", told)
