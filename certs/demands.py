"""What is demanded of each certificate of a chain, beyond what OpenSSL asks: of one trust set."""

import hashlib
from collections.abc import Collection, Iterator

from OpenSSL import crypto

from appliance.domain.clock import Clock
from appliance.domain.reason import Reason
from certs import baseline, rules, webpki
from certs.verdict import Verdict
from certs.verification import Verification

MAX_DEPTH = 10
"""Certificates above the leaf. Real chains have 2 or 3; a search through 100 intermediates takes seconds of one core."""
KEYS_KEPT = 4096
"""Certificates whose keys' fingerprints are remembered, about 1 MB."""


class Demands:
    """For the arguments see ``UpstreamTrust``."""

    def __init__(
        self, clock: Clock, exclude: Collection[str], distrusted: Collection[str], public: Collection[str], *, strict: bool
    ) -> None:
        self._clock, self.strict = clock, strict
        self._exclude, self._distrusted, self._public = frozenset(exclude), frozenset(distrusted), frozenset(public)
        self._named = self._exclude | self._distrusted
        self._keys: dict[str, str] = {}
        """Fingerprints of keys by those of their certificates: to write a key out costs more than everything around it."""

    def unmet(self, state: Verification, raw: crypto.X509, depth: int) -> Iterator[Verdict]:
        """The faults of one certificate that OpenSSL accepted. To be asked from the anchor down to the leaf."""
        if state.top is None:
            state.top = depth
            state.public = bool(self._public) and _sha256(raw) in self._public
        yield from self._by_name(raw, depth)
        if depth == 0 and state.misencoded:
            yield Verdict(Reason.UPSTREAM_CERT_MALFORMED, state.misencoded, certificate=rules.parse(raw, depth)[0])
        if depth != state.top:
            # not for the anchor: roots are trusted by configuration, and old ones break today's rules
            yield from rules.check(raw, depth, state.host)
        if depth == 0 and state.top and (state.public or self.strict):
            yield from baseline.check(raw)
        if state.unaided or state.floor.below_library or state.floor.above_library:
            yield from rules.check_strength(raw, depth, state.floor, anchor=depth == state.top)
        if self.strict:
            yield from self._second_opinion(state, raw, depth)

    def _second_opinion(self, state: Verification, raw: crypto.X509, depth: int) -> Iterator[Verdict]:
        certificate, _ = rules.parse(raw, depth)
        if certificate is None:
            return
        state.chain.insert(0, certificate)
        if depth == 0 and (fault := webpki.check(state.chain, state.host, self._clock.now(), MAX_DEPTH)):
            yield fault

    def _by_name(self, raw: crypto.X509, depth: int) -> Iterator[Verdict]:
        """Certificates and keys that are refused wherever they stand."""
        if not self._named:
            return
        known = self._named.intersection(self._identities(raw))
        if known & self._exclude:
            yield Verdict(Reason.UPSTREAM_CERT_OWN_CA, "signed by this appliance's own CA", depth=depth)
        if known & self._distrusted:
            yield Verdict(Reason.UPSTREAM_CERT_DISTRUSTED, f"the key {min(known & self._distrusted)}", depth=depth)

    def _identities(self, raw: crypto.X509) -> tuple[str, str]:
        """Fingerprints of the certificate and of its key, as ``Authority.identities`` has them."""
        certificate = _sha256(raw)
        key = self._keys.get(certificate)
        if key is None:
            key = hashlib.sha256(crypto.dump_publickey(crypto.FILETYPE_ASN1, raw.get_pubkey())).hexdigest()
            if len(self._keys) >= KEYS_KEPT:
                self._keys.clear()
            self._keys[certificate] = key
        return certificate, key


def _sha256(raw: crypto.X509) -> str:
    return raw.digest("sha256").decode("ascii").replace(":", "").lower()
