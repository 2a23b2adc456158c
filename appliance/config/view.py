"""A configuration under inspection: the nodes that are well formed, where they stand in the file, and what was found."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.config.document import Document, Path, step
from appliance.config.root import AppConfig
from appliance.domain.errors import Problem
from appliance.domain.text import printable

SECTIONS: Final = (
    "ca",
    "resolver",
    "escaper",
    "host_list",
    "icap_service",
    "icap_set",
    "icap_chain",
    "auditor",
    "user_group",
    "tenant",
    "server",
)
NEEDED: Final = ("ca", "escaper", "auditor", "tenant", "server")
NAME_KEYS: Final = ("name", "tenant_id")
_MESSAGE_LIMIT = 600


@dataclass(slots=True)
class Findings:
    """Problems and warnings, each at its line."""

    file: str
    document: Document
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def error(self, path: Path, message: str, line: int = 0) -> None:
        self._add(self.problems, path, message, line)

    def warn(self, path: Path, message: str) -> None:
        self._add(self.warnings, path, message, 0)

    def elsewhere(self, path: Path, file: str, line: int, message: str) -> None:
        """A problem inside a file that the configuration names at ``path``."""
        where = printable(spell_path(self.document.data, path), _MESSAGE_LIMIT)
        self.problems.append(Problem(printable(message, _MESSAGE_LIMIT), where, file, line))

    def _add(self, found: list[Problem], path: Path, message: str, line: int) -> None:
        where = printable(spell_path(self.document.data, path), _MESSAGE_LIMIT)
        problem = Problem(printable(message, _MESSAGE_LIMIT), where, self.file, line or self.document.line(path))
        if problem not in found:
            found.append(problem)


def spell_path(data: Any, path: Path) -> str:
    """``server[explicit].listen.address``: list items by name where they have one, else by number, from 0."""
    text = ""
    for part in path:
        data = step(data, part)
        if isinstance(part, int):
            text += f"[{_name(data) or part}]"
        else:
            text += f".{part}" if text else part
    return text


def _name(data: Any) -> str:
    names = [data.get(key) for key in NAME_KEYS] if isinstance(data, dict) else []
    return next((name for name in names if isinstance(name, str)), "")


@dataclass(frozen=True, slots=True)
class View:
    """What the checks look at. When some nodes are malformed, ``config`` lacks them, but their names are still known."""

    config: AppConfig
    data: dict[str, Any]
    kept: dict[str, list[int]]
    """For each section, where in the file its items in ``config`` stand."""
    findings: Findings

    def each(self, section: str) -> Iterator[tuple[Path, Any]]:
        """The nodes of a section with their paths."""
        items = getattr(self.config, section)
        return (((section, index), item) for index, item in zip(self.kept[section], items, strict=True))

    def names(self, section: str) -> list[str]:
        """Every name that the file gives in this section, in order, well formed or not."""
        items = self.data.get(section)
        return [name for item in items if (name := _name(item))] if isinstance(items, list) else []

    def readable(self, section: str) -> bool:
        """Whether the section is a list, or left out: otherwise every reference into it would be told as one more error."""
        return isinstance(self.data.get(section, None if section in NEEDED else []), list)

    def error(self, path: Path, message: str) -> None:
        self.findings.error(path, message)

    def warn(self, path: Path, message: str) -> None:
        self.findings.warn(path, message)
