"""One decryption rule: ``auditor.tls_interception.rules``."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from appliance.config.times import TimeWindow
from appliance.config.values import Domain, Name, Network, Node, Port, Regex, Share
from appliance.domain.reason import Reason, Source

VERDICTS = frozenset(reason.word for reason in Reason if reason is Reason.OK or reason.source is Source.UPSTREAM)


def check_verdict(word: str) -> str:
    """``ok``, or the reason word of a failure on the server's side."""
    if word not in VERDICTS:
        raise ValueError(f"not a verdict on a server: {word!r} (ok, or a reason word such as upstream_cert_expired)")
    return word


Verdict = Annotated[str, AfterValidator(check_verdict)]
Ja3 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Ja4 = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,36}\*?$")]


class CertificateCondition(Node):
    """The server as a look at it shows: one connection of our own, before the client's handshake is answered. All
    conditions that are given must hold."""

    issuer: list[str] = []
    """Texts that the issuer contains, in any case of letters, in its RFC 4514 form: `O=Example Trust`."""
    issuer_regex: list[Regex] = []
    """Patterns searched in the issuer; one of them, or of `issuer`, is enough."""
    subject: list[str] = []
    """The same for the subject."""
    subject_regex: list[Regex] = []
    """Patterns searched in the subject."""
    keys: list[Literal["rsa", "ec", "ed25519", "ed448", "dsa", "unknown"]] = []
    """Kinds of the certificate's key."""
    verdicts: list[Verdict] = []
    """What verification says: `ok`, or reason words such as `upstream_cert_expired`."""
    self_signed: bool | None = None
    """Whether the certificate names itself as its issuer."""
    asks_client_certificate: bool | None = None
    """Whether the server asks for the client's certificate, which no proxy can give."""

    @model_validator(mode="after")
    def _says_something(self) -> "CertificateCondition":
        if self == CertificateCondition.model_construct():
            raise ValueError("no condition is given")
        return self


class DecryptRule(Node):
    """One decryption rule; all conditions given must hold. Rules are asked in order, the first match decides.

    A condition on what cannot be learnt (the certificate of a server that does not answer, the address of a name that only
    a parent proxy resolves) holds for a rule that intercepts or blocks, and does not hold for one that splices."""

    name: Name
    """Stands in the audit record and on the page."""
    action: Literal["intercept", "splice", "block"]
    """intercept: decrypt. splice: relay as it is. block: refuse."""
    mode: Literal["enforce", "monitor"] = "enforce"
    """monitor: what the rule would have done stands in the audit record, and the rules after it decide."""
    share: Share = 1.0
    """`25%` of the clients, by user or else by address, the same ones each time; a larger share only adds clients. For the
    others the rule does not hold. Both stand in the audit record."""
    tenants: list[Name] = []
    """Tenants, where several use this auditor."""
    users: list[str] = []
    """Names of users."""
    groups: list[Name] = []
    """Names of user groups."""
    networks: list[Network] = []
    """Source addresses."""
    hosts: list[Domain] = []
    """SNI, CONNECT host or original destination: `host` or `.suffix`."""
    host_lists: list[Name] = []
    """Names of host lists; a host in one of them, or in `hosts`, is enough."""
    destinations: list[Network] = []
    """Destination addresses: the one that the client named, or those its name stands for. One that matches is enough for a
    rule that intercepts or blocks; for one that splices, all must."""
    ports: list[Port] = []
    """Destination ports."""
    sni: Literal["present", "absent"] | None = None
    """Whether the client's hello names a server."""
    ja3: list[Ja3] = []
    """JA3 fingerprints of clients."""
    ja4: list[Ja4] = []
    """JA4 fingerprints of clients; one that ends in `*` stands for all that begin so."""
    times: list[TimeWindow] = []
    """Times of the week; one that holds is enough."""
    certificate: CertificateCondition | None = None
    """What the server shows."""
    reason: str = ""
    """Stands in the audit record, and on the page for `block`."""
    page: bool = True
    """For `block`: answer with a page inside TLS; false: with a TLS alert."""
