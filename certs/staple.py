"""OCSP responses that a server sends with its certificate (RFC 6066 section 8, RFC 7633).

A response that says "revoked" and is signed by the issuer refuses the server. One that is stale, unsigned or about
another certificate says nothing: whoever can replay it could leave it out as well, unless the certificate insists.
"""

from collections.abc import Sequence

from cryptography import x509

from appliance.domain.reason import Reason
from certs import ocsp_answer
from certs.verdict import Verdict


def check(response: bytes, chain: Sequence[x509.Certificate], now: float) -> Verdict | None:
    """Why the stapled ``response`` (empty: none was sent) refuses the leaf of ``chain`` at ``now``; None if it does not."""
    if len(chain) < 2:
        return None
    leaf = chain[0]
    answer = ocsp_answer.answer(response, leaf, chain[1], now) if response else None
    if answer is not None and answer.revoked:
        return Verdict(Reason.UPSTREAM_CERT_REVOKED, "the server's own OCSP response says so")
    if answer is None and must_staple(leaf):
        detail = "the certificate demands an OCSP response, and no valid one was sent"
        return Verdict(Reason.UPSTREAM_CERT_STAPLE_MISSING, detail)
    return None


def must_staple(leaf: x509.Certificate) -> bool:
    """Whether the certificate is void without a stapled response (status_request in its TLS feature extension)."""
    try:
        features = leaf.extensions.get_extension_for_class(x509.TLSFeature).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return x509.TLSFeatureType.status_request in features
