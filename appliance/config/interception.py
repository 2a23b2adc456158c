"""What is decrypted, and whom to believe upstream: ``auditor.tls_interception``."""

from typing import Literal

from pydantic import model_validator

from appliance.config.client_certificates import ClientCertificate
from appliance.config.client_tls import ClientTls
from appliance.config.decrypt_rule import DecryptRule
from appliance.config.exclusions import ExclusionConfig
from appliance.config.kept_connections import KeptConnections
from appliance.config.no_sni import NoSni
from appliance.config.resumption import UpstreamSessions
from appliance.config.survey import Survey
from appliance.config.upstream_certificates import UpstreamCertificates
from appliance.config.upstream_tls import UpstreamTls
from appliance.config.values import Domain, FilePath, Node


class UpstreamTrust(Node):
    """Roots for verifying servers, besides the system's. Our own CAs are never trusted upstream."""

    ca_files: list[FilePath] = []
    """PEM files with further roots."""
    system_roots: bool = True
    """Trust the roots of this machine."""
    strict: bool = False
    """Demand the public web's profile of every chain and every certificate in it, roots included: RFC 5280 to the letter, key
    identifiers everywhere. Private CAs made by hand often fall short of it, and so do some old public roots."""
    baseline: bool = True
    """Below the roots of the public web (Mozilla's list), refuse what their CAs may not issue to a server: a common name that
    is not one of the names, names that are no host names, no key identifier. Chains that end elsewhere are not asked."""


class TlsInterception(Node):
    """Decryption of TLS."""

    upstream_trust: UpstreamTrust = UpstreamTrust()
    """Whom to trust upstream."""
    upstream_certificates: UpstreamCertificates = UpstreamCertificates()
    """What happens when a server's certificate is bad."""
    upstream_tls: UpstreamTls = UpstreamTls()
    """The least that a server's TLS must offer."""
    client_certificates: list[ClientCertificate] = []
    """Certificates of ours for servers that ask for one."""
    on_client_certificate: Literal["continue", "block", "splice"] = "continue"
    """A server asks for a client certificate, and there is none for it. continue: go on without, which servers that only would
    like one take. block: refuse. splice: go on without this once, and relay further connections of any client to that host for
    an hour, decrypting nothing; any server can have itself spliced so. A decryption rule on ``asks_client_certificate`` decides
    before the first connection instead."""
    rules: list[DecryptRule] = []
    """Asked in order; the first match decides."""
    splice: list[Domain] = []
    """Short form of a splice rule; asked after ``rules``, together with ``block``."""
    block: list[Domain] = []
    """Short form of a block rule."""
    exclusions: ExclusionConfig = ExclusionConfig()
    """Hosts that cannot be decrypted without breaking them; asked after ``rules`` and the short lists."""
    default_action: Literal["intercept", "splice", "block"] = "intercept"
    """When no rule matches."""
    no_sni: NoSni | None = None
    """What happens to clients whose hello names no server, where neither ``rules`` nor the short lists decide."""
    connection_strategy: Literal["eager", "lazy"] = "eager"
    """eager: connect to the server before answering the client's handshake. lazy: when a request is known."""
    http2: bool = True
    """Offer HTTP/2 to clients and servers."""
    ech: Literal["allow", "intercept", "block"] = "allow"
    """Encrypted Client Hello, which may hide another name than the one that rules see. Intercepted, a client that means it
    comes back without, so nothing is hidden. Spliced, it may reach a name that nobody here sees: ``intercept`` decrypts what
    rules would splice, ``block`` refuses every hello with it. Browsers send the same shape as noise (GREASE) to all servers,
    so both hit them as well, unless their policy switches ECH off. ``allow``: rules decide by the name shown, and the record
    says what is known (``tls_ech``)."""
    client_tls: ClientTls = ClientTls()
    """What clients must speak."""
    upstream_sessions: UpstreamSessions = UpstreamSessions()
    """TLS sessions with servers that are used again."""
    kept_connections: KeptConnections = KeptConnections()
    """Connections to servers that are used again by the same client's next connection."""
    survey: Survey = Survey()
    """How a server is looked at before a rule that depends on its certificate decides."""

    @model_validator(mode="after")
    def _decided_before_the_leaf(self) -> "TlsInterception":
        if self.connection_strategy == "lazy":
            for action in ("untrusted_ca", "splice"):
                if self.upstream_certificates.uses(action):
                    raise ValueError(
                        f"upstream_certificates: {action} needs connection_strategy eager: "
                        "with lazy the client has its leaf before the server is known"
                    )
        return self
