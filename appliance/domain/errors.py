"""The tree of errors, drawn by cause.

    ArcusError
    |- ConfigError          the operator's files           (file:line: path: message)
    |- TaskError            a task cannot go on; carries a Reason
       |- ClientError         the client broke a rule or a limit
       |- UpstreamError       the way out or the server failed
       |- PolicyError         a decision says no
       |- ScanError           an ICAP service or scanner failed
       |- InternalError       our own fault

A library's exceptions are mapped to these at the boundary that calls it, nowhere else.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # every command imports this; the notes of a task are for those that have tasks
    from appliance.domain.notes import EscapeNotes
    from appliance.domain.reason import Reason


class ArcusError(Exception):
    """Base of everything the appliance raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration: ``file:line: path: message``."""

    message: str
    path: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return f"{where}{self.path + ': ' if self.path else ''}{self.message}"


class ConfigError(ArcusError):
    """A configuration that must not be used. ``problems`` is never empty."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class TaskError(ArcusError):
    """A task cannot go on.

    ``retryable``: nothing of the request has reached the other side. ``escape``: the way out as far as it was walked,
    set by the dialer.
    """

    def __init__(self, reason: "Reason", detail: str = "", *, retryable: bool = False) -> None:
        super().__init__(f"{reason.word}: {detail}" if detail else reason.word)
        self.reason = reason
        self.detail = detail
        self.retryable = retryable
        self.escape: EscapeNotes | None = None


class ClientError(TaskError):
    pass


class UpstreamError(TaskError):
    pass


class PolicyError(TaskError):
    pass


class ScanError(TaskError):
    pass


class InternalError(TaskError):
    pass
