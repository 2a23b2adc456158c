"""What is decrypted, and whom to believe upstream: ``auditor.tls_interception``."""

from typing import Literal

from appliance.config.decrypt_rule import DecryptRule
from appliance.config.resumption import UpstreamSessions
from appliance.config.survey import Survey
from appliance.config.values import Domain, FilePath, Node


class UpstreamTrust(Node):
    """Roots for verifying servers, besides the system's. Our own CAs are never trusted upstream."""

    ca_files: list[FilePath] = []
    """PEM files with further roots."""
    system_roots: bool = True
    """Trust the roots of this machine."""


class TlsInterception(Node):
    """Decryption of TLS."""

    upstream_trust: UpstreamTrust = UpstreamTrust()
    """Whom to trust upstream."""
    rules: list[DecryptRule] = []
    """Asked in order; the first match decides."""
    splice: list[Domain] = []
    """Short form of a splice rule; asked after ``rules``, together with ``block``."""
    block: list[Domain] = []
    """Short form of a block rule."""
    default_action: Literal["intercept", "splice", "block"] = "intercept"
    """When no rule matches."""
    connection_strategy: Literal["eager", "lazy"] = "eager"
    """eager: connect to the server before answering the client's handshake. lazy: when a request is known."""
    http2: bool = True
    """Offer HTTP/2 to clients and servers."""
    upstream_sessions: UpstreamSessions = UpstreamSessions()
    """TLS sessions with servers that are used again."""
    survey: Survey = Survey()
    """How a server is looked at before a rule that depends on its certificate decides."""
