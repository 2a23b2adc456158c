"""Services one after the other: the ``icap_chain`` list."""

from pydantic import Field

from appliance.config.values import Name, Node


class IcapChain(Node):
    """Each link sees what the link before it made of the message. The first that blocks ends the chain; each failure is
    decided by the link's own ``on_error``."""

    name: Name
    """What rules and other chains refer to it by."""
    links: list[Name] = Field(min_length=1)
    """Names of services, sets and chains, in the order for requests; for responses the order is the reverse."""
