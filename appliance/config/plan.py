"""Old configuration against new: which nodes come, go or change, and what cannot change while running."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from appliance.config.root import AppConfig
from appliance.config.view import NAME_KEYS, SECTIONS

_FIXED: Final = ("state_dir", "workers", "icap_server", "redis", "portal", "admin", "demo_origin", "log", "audit")
"""Processes, sockets and files that are set up once, at start."""


@dataclass(frozen=True, slots=True)
class Change:
    """``section`` is a key of the file; ``name`` is empty for one that is no list."""

    section: str
    name: str
    kind: Literal["added", "removed", "changed"]

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
    fixed = [Change(key, "", "changed") for key in _FIXED if getattr(old, key) != getattr(new, key)]
    moved = [change for change in changes if change.section == "server" and _moved(change, old, new)]
    return Plan((*changes, *fixed), (*fixed, *moved))


def _of_list(section: str, old: list[Any], new: list[Any]) -> list[Change]:
    before = {_name(node): node for node in old}
    after = {_name(node): node for node in new}
    changes = [Change(section, name, "removed") for name in before if name not in after]
    changes += [Change(section, name, "added") for name in after if name not in before]
    return changes + [Change(section, name, "changed") for name in after if name in before and before[name] != after[name]]


def _name(node: Any) -> str:
    return str(next(getattr(node, key) for key in NAME_KEYS if hasattr(node, key)))


def _moved(change: Change, old: AppConfig, new: AppConfig) -> bool:
    """Listening sockets are bound by the parent process, before the workers start."""
    listens = [[server.listen for server in config.server if server.name == change.name] for config in (old, new)]
    return listens[0] != listens[1]
