"""A second verifier for the public web's profile (RFC 5280 as the CA/Browser Forum narrows it).

OpenSSL finds the chain; this one, which shares no code with it, has to agree. It sees that one chain only, never
what the server sent: a search among 100 intermediates does not end within seconds.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from appliance.domain.reason import Reason
from appliance.domain.target import parse_ip
from certs.verdict import Verdict


def check(chain: Sequence[x509.Certificate], host: str, now: float, max_depth: int) -> Verdict | None:
    """Why this chain (leaf first, anchor last) does not fit the profile, or None. ``now``: seconds since the epoch."""
    leaf, *above = chain
    if not above:
        # a leaf that is trusted by configuration has nothing above it to be checked
        return None
    address = parse_ip(host)
    try:
        builder = PolicyBuilder().store(Store([above[-1]])).time(datetime.fromtimestamp(now, UTC)).max_chain_depth(max_depth)
        subject = x509.IPAddress(address) if address is not None else x509.DNSName(host)
        builder.build_server_verifier(subject).verify(leaf, list(above[:-1]))
    except (VerificationError, ValueError) as error:
        return Verdict(Reason.UPSTREAM_CERT_INVALID, f"web profile: {error}"[:512], certificate=leaf)
    return None
