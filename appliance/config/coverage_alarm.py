"""When too little of a tenant's traffic is inspected: ``coverage_alarm``."""

from typing import Annotated, Literal

from pydantic import Field

from appliance.config.values import Node, Seconds, Size


class CoverageAlarm(Node):
    """Health is ``degraded``, and names the tenant, while more than the share ``above`` of its bytes passes unscanned."""

    above: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Of what could have been scanned, the part that was not: 0.2 is a fifth."""
    window: Annotated[Seconds, Field(ge=60, le=86_400)] = 600.0
    """The bytes of so many seconds are looked at."""
    least: Size = 10 * 1024 * 1024
    """Fewer unscanned bytes than that are no alarm, whatever their share."""
    of: Literal["decrypted", "everything"] = "decrypted"
    """What could have been scanned: what was decrypted, or also what was relayed without (spliced, not decryptable)."""
