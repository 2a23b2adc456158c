"""What `arcus explain` tells: a verdict, and the steps that lead to it."""

from dataclasses import dataclass, field
from typing import Literal

from appliance.domain.reason import Reason


@dataclass(frozen=True, slots=True)
class Step:
    """``about``: listener, tenant, user, portal, access, decrypt, scan, escaper. ``stop``: the request ends here."""

    about: str
    answer: str
    why: str = ""
    stop: bool = False


@dataclass(slots=True)
class Explanation:
    """``verdict`` is ``allow`` or ``deny`` with its reason word; ``steps`` lead to it in the order in which they are taken."""

    url: str
    client: str
    verdict: Literal["allow", "deny"] = "allow"
    reason: str = Reason.OK.word
    server: str = ""
    tenant: str = ""
    tenant_method: str = ""
    user: str = ""
    portal: bool = False
    """The appliance answers this itself, and nothing is sent."""
    decrypt: str = ""
    would: tuple[str, ...] = ()
    """What decryption rules in monitor mode would have done."""
    escaper_path: tuple[str, ...] = ()
    steps: list[Step] = field(default_factory=list)

    def add(self, about: str, answer: str, why: str = "", *, deny: Reason | None = None) -> None:
        self.steps.append(Step(about, answer, why, deny is not None))
        if deny is not None:
            self.verdict, self.reason = "deny", deny.word
