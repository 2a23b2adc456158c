"""Certificates of issuers that a server forgot to send, from where its certificate says they are (RFC 5280 section 4.2.2.1).

What is fetched is never believed: it only fills the gap in a chain, which is then verified in full.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import AuthorityInformationAccessOID

from appliance.domain.clock import Clock
from certs.memo import Kept, Memo
from certs.ocsp_answer import access_urls
from certs.patience import Patience
from certs.trust import UpstreamTrust
from certs.verdict import NO_ISSUER, Verdict

type Fetch = Callable[[str], Awaitable[bytes]]
"""Raises an exception, of whatever kind, when there is nothing to be had."""

MAX_STEPS: Final = 3
"""Issuers above one another that are fetched for one chain."""
MAX_FOUND: Final = 8
"""Certificates taken from one answer."""
MAX_BYTES: Final = 65_536
CAPACITY: Final = 512
TTL: Final = 86_400.0
FAILURE_TTL: Final = 300.0


class Issuers:
    """For one tenant: what is fetched goes its way out. ``counters``: ``completed`` and ``failed`` chains."""

    def __init__(self, clock: Clock) -> None:
        self._known: Memo[str, tuple[x509.Certificate, ...]] = Memo(CAPACITY, clock)
        self.counters: Counter[str] = Counter()

    async def complete(
        self,
        trust: UpstreamTrust,
        host: str,
        sent: Sequence[x509.Certificate],
        gap: Verdict,
        fetch: Fetch,
        patience: Patience,
    ) -> tuple[Verdict, list[x509.Certificate]]:
        """Fill the ``gap`` in the chain that was ``sent``: the verdict on the whole, and the chain up to its anchor.

        ``gap`` itself is the verdict when nothing was found in time.
        """
        chain, verdict = list(sent), gap
        for _ in range(MAX_STEPS):
            found = [] if verdict.certificate is None else await self._above(verdict.certificate, fetch, patience)
            found = [each for each in found if each not in chain]
            if not found:
                break
            chain += found
            verdict, built = trust.judge(host, chain)
            if verdict.code not in NO_ISSUER:
                self.counters["completed"] += 1
                return verdict, built
        self.counters["failed"] += 1
        return verdict, []

    async def _above(self, certificate: x509.Certificate, fetch: Fetch, patience: Patience) -> list[x509.Certificate]:
        for url in access_urls(certificate, AuthorityInformationAccessOID.CA_ISSUERS):
            try:
                found = await patience.wait(self._known.get(url, lambda url=url: _fetched(url, fetch)))  # type: ignore[misc]
            except TimeoutError:
                return []
            fitting = [each for each in found if each.subject == certificate.issuer]
            if fitting:
                return fitting
        return []


async def _fetched(url: str, fetch: Fetch) -> Kept[tuple[x509.Certificate, ...]]:
    try:
        found = parse(await fetch(url))
    except Exception:  # nothing is what a broken address has; the chain's own verdict is told
        found = ()
    return Kept(found, TTL if found else FAILURE_TTL)


def parse(data: bytes) -> tuple[x509.Certificate, ...]:
    """Certificates in DER, in PEM, or in PKCS #7 (``.p7c``); none when it is nothing of that, or too large."""
    if len(data) > MAX_BYTES:
        return ()
    for read in (_der, _pkcs7, _pem):
        try:
            found = read(data)
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
            continue
        if found:
            return tuple(found[:MAX_FOUND])
    return ()


def _der(data: bytes) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(data)]


def _pem(data: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(data)


def _pkcs7(data: bytes) -> list[x509.Certificate]:
    if data.lstrip().startswith(b"-----BEGIN PKCS7"):
        return pkcs7.load_pem_pkcs7_certificates(data)
    return pkcs7.load_der_pkcs7_certificates(data)
