"""What somebody did with the appliance itself: decided about an exclusion, replaced a CA. It stands among the audit events."""

from dataclasses import dataclass
from enum import StrEnum


class Via(StrEnum):
    """By which door."""

    WEB = "web"
    COMMAND_LINE = "command line"
    ITSELF = "appliance"
    """Nobody asked: a rule of the configuration, or the time."""


@dataclass(frozen=True, slots=True)
class Actor:
    """``name``: a person as far as the appliance knows one, or a word for what it does by itself. ``address``: where the
    person's connection came from; empty when that is not known, or there was none."""

    name: str
    via: Via = Via.ITSELF
    address: str = ""

    def __str__(self) -> str:
        if self.via is Via.COMMAND_LINE:
            return f"{self.name} at the command line" + (f" from {self.address}" if self.address else "")
        return f"{self.name} from {self.address}" if self.address else self.name


@dataclass(frozen=True, slots=True)
class Act:
    """``id``: of the event; the same act told twice has the same one. ``on``: exclusion, ca, key or quarantine, ``subject``:
    which one. ``verb``: a past participle. ``failed``: why it came to nothing after it was told; empty when it did not."""

    id: str
    at: float
    tenant: str
    by: Actor
    on: str
    subject: str
    verb: str
    note: str = ""
    host: str = ""
    fingerprint: str = ""
    until: float = 0.0
    failed: str = ""
