"""Old configuration against new: which nodes come, go or change, and what cannot change while running."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from appliance.config.root import AppConfig
from appliance.config.view import NAME_KEYS, SECTIONS

_SINGLE: Final = tuple(name for name in AppConfig.model_fields if name not in SECTIONS)
"""The keys that are no lists of nodes."""
_FIXED: Final = ("state_dir",)
"""The lock, the spool and the CAs are there."""


@dataclass(frozen=True, slots=True)
class Change:
    """``section`` is a key of the file; ``name`` is empty for one that is no list."""

    section: str
    name: str
    kind: Literal["added", "removed", "changed"]

    @property
    def path(self) -> str:
        return f"{self.section}[{self.name}]" if self.name else self.section

    def __str__(self) -> str:
        return f"{self.kind} {self.section}{f' {self.name}' if self.name else ''}"


@dataclass(frozen=True, slots=True)
class Plan:
    """``restart`` are the changes that only a new start brings into effect."""

    changes: tuple[Change, ...]
    restart: tuple[Change, ...]

    def sections(self) -> frozenset[str]:
        """The parts that have to be built anew."""
        return frozenset(change.section for change in self.changes)


def compare(old: AppConfig, new: AppConfig) -> Plan:
    """What it takes to go from one configuration to another. Pure; an order of items that changed counts for rules only."""
    changes = [change for section in SECTIONS for change in _of_list(section, getattr(old, section), getattr(new, section))]
    changes += [change for key in _SINGLE if (change := _of_key(key, getattr(old, key), getattr(new, key)))]
    restart = [change for change in changes if change.section in _FIXED]
    if _own_scanner(old) != _own_scanner(new):
        restart.append(Change("icap_server.scanner", "", "changed"))
    return Plan(tuple(changes), tuple(restart))


def _of_key(key: str, old: Any, new: Any) -> Change | None:
    if old == new:
        return None
    return Change(key, "", "added" if old is None else "removed" if new is None else "changed")


def _own_scanner(config: AppConfig) -> Any:
    """The scanner that is started with the appliance, and takes half a minute to load its signatures."""
    clamd = config.icap_server.clamd if config.icap_server is not None else None
    return clamd if clamd is not None and clamd.managed else None


def _of_list(section: str, old: list[Any], new: list[Any]) -> list[Change]:
    before = {_name(node): node for node in old}
    after = {_name(node): node for node in new}
    changes = [Change(section, name, "removed") for name in before if name not in after]
    changes += [Change(section, name, "added") for name in after if name not in before]
    return changes + [Change(section, name, "changed") for name in after if name in before and before[name] != after[name]]


def _name(node: Any) -> str:
    return str(next(getattr(node, key) for key in NAME_KEYS if hasattr(node, key)))
