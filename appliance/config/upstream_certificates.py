"""What happens when a server's certificate is bad: ``auditor.tls_interception.upstream_certificates``."""

import base64
import binascii
import re
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from appliance.config.revocation import CertificateFetch, Revocation
from appliance.config.values import Domain, Name, Node, Seconds

type Cause = Literal[
    "expired",
    "not_yet_valid",
    "wrong_host",
    "untrusted",
    "self_signed",
    "incomplete_chain",
    "distrusted",
    "revoked",
    "revocation_unknown",
    "staple_missing",
    "weak_key",
    "weak_signature",
    "bad_signature",
    "wrong_eku",
    "key_usage",
    "name_constraints",
    "path_length",
    "issuer_not_ca",
    "critical_extension",
    "chain_too_long",
    "malformed",
    "profile",
    "invalid",
]
"""A reason word without ``upstream_cert_``. ``own_ca`` is not among them: it is always blocked."""

type Action = Literal["block", "warn", "untrusted_ca", "splice", "allow"]


def spki_pin(value: str) -> str:
    """A SHA-256 fingerprint of a public key, in hex, or in base64 as RFC 7469 writes it; as lower-case hex."""
    text = value.removeprefix("sha256/").replace(":", "")
    if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        return text.lower()
    try:
        digest = base64.b64decode(text, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        raise ValueError(f"not a SHA-256 fingerprint: {value!r} (write 64 hex digits, or sha256/ and base64)")
    return digest.hex()


class CertificateException(Node):
    """Hosts for which other actions hold. The first exception that matches decides."""

    name: Name
    """Stands in the audit record."""
    hosts: list[Domain] = Field(min_length=1)
    """``host`` or ``.suffix``: the name that the certificate is verified for."""
    causes: list[Cause] = []
    """What may be wrong; absent: anything."""
    action: Action
    """As for ``default``."""
    until: date | None = None
    """The last day (UTC) on which it counts; absent: it does not end."""
    reason: str = ""
    """For people. The audit record has the exception's name."""


class Warn(Node):
    """Of the action ``warn``: the page whose button lets a person go on."""

    link: Annotated[Seconds, Field(ge=10, le=3600)] = 300.0
    """How long the button on a page works."""
    proceed: Annotated[Seconds, Field(ge=60, le=7 * 86_400)] = 28_800.0
    """How long a person who went on is not asked again: for the same client, user, host, port, cause and certificate."""


class UpstreamCertificates(Node):
    """Faults of servers' certificates, and what is done about each. Where a certificate has several, each must be let
    pass by itself, and the strictest action counts."""

    default: Action = "block"
    """block: a page that names the cause. warn: a page on which a person may go on. untrusted_ca: the client gets a leaf
    of a CA that nobody trusts, so that it shows its own warning. splice: relay undecrypted, so that the client judges the
    certificate itself. allow: go on as if it were good; recorded with the cause."""
    causes: dict[Cause, Action] = {}
    """Actions for single causes."""
    exceptions: list[CertificateException] = []
    """Asked in order, before ``causes``."""
    warn: Warn = Warn()
    """How a person goes on from a warning."""
    untrusted_ca: Name = "forward-untrust"
    """The name of the CA of the action ``untrusted_ca``, made under ``state_dir/untrusted-ca`` when it is needed. It is no
    CA of the ``ca`` list: nothing exports it, and no client should ever trust it."""
    distrusted_keys: list[Annotated[str, AfterValidator(spki_pin)]] = []
    """SHA-256 fingerprints of public keys (SubjectPublicKeyInfo) that no chain may contain, at any depth: hex, or
    ``sha256/`` and base64."""

    complete_chains: bool = True
    """Fetch intermediates that a server does not send from where its certificate says they are. They are not believed for
    that: the chain is then verified in full."""
    revocation: Revocation = Revocation()
    """Whether certificates have been taken back."""
    fetch: CertificateFetch = CertificateFetch()
    """How what certificates name is fetched."""

    def uses(self, action: Action) -> bool:
        """Whether anything leads to this action."""
        return action in {self.default, *self.causes.values(), *(each.action for each in self.exceptions)}
