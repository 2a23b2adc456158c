"""Decisions: an action, the rule that took it, and the reason word."""

from dataclasses import dataclass, field
from enum import Enum

from appliance.domain.reason import Reason


class Action(Enum):
    ALLOW = "allow"
    BLOCK = "block"
    REDIRECT = "redirect"
    REQUIRE_AUTH = "require_auth"


class TlsAction(Enum):
    """What happens to a TLS connection: squid calls these bump, splice and terminate."""

    INTERCEPT = "intercept"
    SPLICE = "splice"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of the access policy (tenant, then user, then site: the first that does not allow wins)."""

    action: Action
    reason: Reason = Reason.OK
    rule: str = ""
    level: str = ""
    """``tenant``, ``user``, ``site``, ``decrypt`` or ``consistency``: where the deciding rule stands."""
    message: str = ""
    """The operator's text for the person, shown on the page."""
    redirect_url: str = ""
    applied: tuple[str, ...] = ()
    """Every policy that was evaluated and allowed, in order, then the deciding one."""
    would: tuple[str, ...] = ()
    """What rules in monitor mode would have done: ``rule: action``."""

    @property
    def allowed(self) -> bool:
        return self.action is Action.ALLOW


@dataclass(frozen=True, slots=True)
class TlsDecision:
    """The outcome of the decryption rules."""

    action: TlsAction
    rule: str = "default"
    text: str = ""
    page: bool = True
    """A block is answered with a page inside TLS; otherwise with an alert."""
    would: tuple[str, ...] = ()
    """What rules in monitor mode would have done: ``rule: action``."""
    staged: tuple[str, ...] = ()
    """Rules for a share of the clients that hold otherwise: ``rule: in 25%`` or ``rule: not in 25%``."""
    by_default: bool = field(default=False, compare=False)
    """Neither a rule nor a short list decided."""


ALLOW = Decision(Action.ALLOW)
PORTAL = Decision(Action.ALLOW, rule="portal", applied=("portal",))
"""The appliance's own pages: answered here, whatever the rules say about other destinations."""
PORTAL_TLS = TlsDecision(TlsAction.INTERCEPT, "portal")
