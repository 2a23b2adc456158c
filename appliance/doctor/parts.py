"""The interpreter, and the one library whose version is a matter of security."""

import platform
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Final

from appliance.config.root import AppConfig
from appliance.doctor.finding import Finding, fail, ok

PINNED: Final = "12.2.3"
_FOREIGN_CA: Final = b"emudhra"
"""Options of this name, in later releases, sign with the key of a publicly trusted CA that the package carries."""
_PRIVATE_KEY: Final = b"PRIVATE KEY-----\n"
_HINT: Final = f"install mitmproxy=={PINNED} from the lock file; see docs/security.md"


def python(_config: AppConfig) -> Iterator[Finding]:
    found = f"{platform.python_implementation()} {platform.python_version()}"
    if tuple(map(int, platform.python_version_tuple()[:2])) >= (3, 13):
        yield ok("python", found)
    else:
        yield fail("python", found, "3.13 or later is needed")


def mitmproxy(_config: AppConfig) -> Iterator[Finding]:
    try:
        package = distribution("mitmproxy")
    except PackageNotFoundError:
        yield fail("mitmproxy", "is not installed", _HINT)
        return
    yield from examine_package(package)


def examine_package(package: Distribution) -> Iterator[Finding]:
    """The version, and what must not be in any: the files are read, not imported."""
    if package.version != PINNED:
        yield fail("mitmproxy", f"{package.version}, where {PINNED} is pinned", _HINT)
    flaws = list(_flaws(package))
    for flaw in flaws:
        yield fail("mitmproxy", flaw, _HINT)
    if package.version == PINNED and not flaws:
        yield ok("mitmproxy", f"{PINNED}, no key of a foreign CA in it")


def _flaws(package: Distribution) -> Iterator[str]:
    for file in package.files or []:
        if file.suffix not in (".py", ".pem", ".key", ".crt"):
            continue
        try:
            data = file.locate().read_bytes()  # type: ignore[attr-defined]
        except OSError as error:
            yield f"{file} cannot be read: {error.strerror}"
            continue
        if _FOREIGN_CA in data.lower() or _FOREIGN_CA in str(file).lower().encode():
            yield f"{file} speaks of {_FOREIGN_CA.decode()}: this release signs with a public CA's key"
        elif file.suffix != ".py" and _PRIVATE_KEY in data:
            yield f"{file} holds a private key"
