"""Services of which one is asked: the ``icap_set`` list."""

from typing import Literal

from pydantic import Field

from appliance.config.icap_service import OnFailure
from appliance.config.values import Name, Node


class IcapSet(Node):
    """Several services that do the same. When one fails, the next is asked; the failed ones stand in the audit record."""

    name: Name
    """What rules and chains refer to it by."""
    services: list[Name] = Field(min_length=1)
    """Names of services, each once."""
    strategy: Literal["round_robin", "failover"] = "failover"
    """``round_robin``: they take turns. ``failover``: the first that is up."""
    on_error: OnFailure = "block"
    """When all have failed. What the services say about their own failures does not count inside a set."""
    on_overload: OnFailure | None = None
    """When the last that was asked has too much to do; absent: as ``on_error``."""
