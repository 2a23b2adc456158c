"""How a new configuration takes the place of the one that runs."""

from pydantic import Field

from appliance.config.values import Node, Seconds


class Reload(Node):
    """``arcus reload``: new workers take the place of the old ones, which finish what they have begun."""

    drain: Seconds = 600.0
    """How long requests, tunnels and WebSockets that are open may go on under the old configuration. A connection between
    two requests gets at most one more answer under it."""
    ready_timeout: Seconds = Field(60.0, ge=1.0)
    """How long the new processes may take until they are ready; after that, the old configuration stays."""
