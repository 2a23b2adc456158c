"""Trust anchors: the files they come from, and those of them that a chain could end in."""

import ssl
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL

from appliance.domain.errors import ConfigError, Problem

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class TrustError(ConfigError):
    """Roots that cannot be loaded. Verification without them would refuse every server, so the start fails instead."""

    def __init__(self, file: Path | None, message: str) -> None:
        super().__init__([Problem(message, file=str(file) if file else "")])


def system_bundle() -> Path:
    """The operating system's roots; ``SSL_CERT_FILE`` names others, as for every OpenSSL program. Raises TrustError."""
    paths = ssl.get_default_verify_paths()
    candidates = [Path(each) for each in (paths.cafile, *SYSTEM_BUNDLES) if each]
    found = next((each for each in candidates if each.is_file()), None)
    if found is None:
        raise TrustError(None, f"no system roots: none of {', '.join(map(str, candidates))} exists")
    return found


class Roots:
    """The anchors of one trust set. Raises TrustError when a file cannot be used, or there is none."""

    def __init__(self, files: Sequence[Path], system_roots: bool) -> None:
        self._files = [*files, *([system_bundle()] if system_roots else [])]
        if not self._files:
            raise TrustError(None, "no roots: neither ca_files nor system_roots")
        self._by_subject: dict[bytes, list[x509.Certificate]] | None = None

    def load_into(self, context: SSL.Context) -> None:
        """Give the anchors to a context. Raises TrustError."""
        for file in self._files:
            _load(context, file)

    def possible(self, chain: Iterable[x509.Certificate]) -> list[x509.Certificate]:
        """The anchors that have the name of a certificate of the chain, or of its issuer."""
        if self._by_subject is None:
            self._by_subject = self._read()
        wanted = {name.public_bytes() for each in chain for name in (each.issuer, each.subject)}
        return [anchor for name in wanted for anchor in self._by_subject.get(name, ())]

    def _read(self) -> dict[bytes, list[x509.Certificate]]:
        """Only for chains that are verified outside of a handshake: most processes never need it."""
        found: dict[bytes, list[x509.Certificate]] = defaultdict(list)
        for file in self._files:
            for anchor in x509.load_pem_x509_certificates(file.read_bytes()):
                found[anchor.subject.public_bytes()].append(anchor)
        return found


def _load(context: SSL.Context, file: Path) -> None:
    try:
        with file.open("rb"):
            context.load_verify_locations(str(file))
    except OSError as error:
        raise TrustError(file, f"cannot be read: {error.strerror}") from error
    except SSL.Error as error:
        raise TrustError(file, "holds no certificate in PEM form") from error
