"""A look at a server's TLS before the client's hello is answered: ``auditor.tls_interception.survey``."""

from typing import Annotated

from pydantic import Field

from appliance.config.values import Node, Seconds


class Survey(Node):
    """How the server is looked at, where a rule depends on its certificate. One connection of our own, as short as a
    handshake; what it shows is remembered per tenant, way out, host, port, server name and the protocols offered."""

    ttl: Seconds = 600.0
    """How long what was seen of a server with a good certificate is remembered; 0 looks each time."""
    failure_ttl: Seconds = 30.0
    """The same for a server that could not be reached, or whose certificate is refused."""
    timeout: Annotated[Seconds, Field(gt=0, le=60)] = 8.0
    """Connect and handshake together."""
