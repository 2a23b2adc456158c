"""``dummy_deny``: no way out."""

from typing import Never

from appliance.config.escaper import DummyDeny as DummyDenyConfig
from appliance.domain.errors import PolicyError
from appliance.domain.notes import EscapeNotes
from appliance.domain.reason import Reason
from appliance.egress.context import EscapeContext
from appliance.egress.escaper import Identity
from appliance.egress.opener import Opener


class DummyDeny(Identity):
    """Resolves nothing, connects to nothing."""

    def __init__(self, config: DummyDenyConfig) -> None:
        super().__init__(config.name, config.type, frozenset(config.tenants))

    async def escape(self, ctx: EscapeContext, opener: Opener, notes: EscapeNotes) -> Never:
        raise PolicyError(Reason.DENIED_BY_ESCAPER, f"{self.name} takes no task to {ctx.target}")
