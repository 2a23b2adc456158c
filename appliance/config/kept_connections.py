"""Connections to servers that outlive their client's: ``tls_interception.kept_connections``."""

from typing import Annotated

from pydantic import Field

from appliance.config.values import Node, Seconds


class KeptConnections(Node):
    """What a client leaves idle and whole is given to its own next connection to the same place, which neither connects, nor
    shakes hands, nor verifies again. It must be of the same tenant, client address, user, listener, way out, host, port, server
    name and ALPN. Only HTTP/1.1 is kept, only after a certificate without a fault, and nothing on which somebody has signed in
    or shown a client certificate; requests that cannot be repeated never go out on a kept connection first."""

    enabled: bool = True
    """Off: every connection of a client has connections of its own to servers."""
    idle: Annotated[Seconds, Field(gt=0, le=60)] = 10.0
    """How long a connection waits for the next one of its client."""
    max_age: Annotated[Seconds, Field(gt=0, le=3600)] = 300.0
    """Seconds after its handshake that a connection is given away; for so long is believed what was found out then, revocation
    included."""
    per_client: Annotated[int, Field(ge=1, le=256)] = 16
    """How many may wait for one client address; the oldest goes first. A worker keeps 1024 for all clients
    together, or an eighth of the files that it may have open, if that is less."""
