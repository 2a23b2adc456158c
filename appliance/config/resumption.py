"""Sessions with servers that are used again: ``tls_interception.upstream_sessions``."""

from pydantic import Field

from appliance.config.values import Node, Seconds


class UpstreamSessions(Node):
    """Resumption of TLS sessions with servers. A session is kept in the worker's memory, for one tenant, way out, address,
    name and ALPN, after a verification without a fault; it is offered once, and not beyond its certificates' validity."""

    enabled: bool = True
    """Off: every connection that is made verifies the server's certificate anew, at some 0.7 ms more of a core; see
    ``kept_connections`` for connections that need not be made."""
    max_age: Seconds = Field(3600.0, gt=0, le=86_400)
    """How long what verification said (revocation included) is believed again without being asked."""
