"""Verdicts that are kept: ``verdict_cache``."""

from typing import Literal

from pydantic import Field

from appliance.config.values import Name, Node, Seconds


class KeptService(Node):
    """A foreign service whose verdicts are kept, although it does not say what it judges by."""

    service: Name
    """A service of ``icap_service``."""
    judges: Literal["body", "message"] = "message"
    """``body``: it judges by the body and its Content-Encoding alone, as a virus scanner does that has no policy by user, host
    or name. ``message``: a verdict is used only for a message that is the same in every header, for the same user and
    address. Where this says ``body`` and is wrong, what the service would block for one user passes for another."""
    ttl: Seconds = Field(60.0, ge=1, le=3600)
    """How long a verdict is used. Keep it short: not every service changes its ISTag when its signatures change (c-icap with
    clamd does not), and then only this ends what was clean by the old ones."""


class VerdictCache(Node):
    """A body that was scanned is not scanned again: the verdict is kept by the body's SHA-256, which the appliance computes
    over what it delivers. Kept are clean and infected whole bodies; never errors, bypasses, what a service modified, or what
    it did not look into. Ten messages with the same body at one time are scanned once. A verdict ends with the service's
    ISTag."""

    enabled: bool = True
    """false: every body is scanned, however often it comes."""
    ttl: Seconds = Field(600.0, ge=1, le=86_400)
    """How long a verdict is used that a service of ours made. It says with each answer whether it judged by the body alone;
    with rules about names or declared types it does not, and nothing is kept."""
    confirm: Seconds = Field(10.0, ge=0.1)
    """A service that has not been asked anything for so long is asked again, so that a new ISTag is noticed."""
    entries: int = Field(20_000, ge=1)
    """Verdicts in memory for each tenant, in each worker; one takes about 1.5 KB."""
    scope: Literal["tenant", "policy"] = "tenant"
    """Whose verdicts are used for a tenant's messages: its own, or those of all tenants that ask the same service in the same
    way. With ``policy`` a tenant can tell by the time it takes whether another had a file."""
    redis: bool = True
    """Share verdicts with other workers and nodes, where ``redis`` is configured; encrypted there, as leaves are."""
    services: list[KeptService] = []
    """Further services whose verdicts are kept."""
