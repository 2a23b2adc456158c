"""What may be learned for each tenant."""

from collections.abc import Callable
from dataclasses import dataclass

from appliance.config.exclusions import Learning


@dataclass(frozen=True, slots=True)
class TenantRules:
    """``veto``: why a host cannot be excluded; empty when nothing stands against it. ``None`` rules: nothing is decrypted."""

    learning: Learning
    veto: Callable[[str], str]
