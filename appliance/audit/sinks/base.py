"""What the drain asks of a sink."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

type State = dict[str, int | str]
"""What a sink needs to know after a crash. The drain keeps it together with the cursor."""


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of one batch. ``rejected``: lines that are no event; they are counted and never offered again."""

    state: State = field(default_factory=dict)
    rejected: int = 0


class Sink(Protocol):
    """Takes events in order. The same event may be offered twice, after a crash: the second time must change nothing."""

    @property
    def name(self) -> str:
        """Names the cursor file and the metrics: letters, digits, dashes."""

    def open(self, state: State) -> State:
        """Go back to ``state``, the one of the last batch that counts, and return the state from which the next one starts
        (the drain saves it first). Called at start and after each failure; ``state`` is empty the first time.

        Raises:
            OSError: not now; the drain tries again.
        """

    def write(self, lines: Sequence[bytes]) -> Written:
        """Store a batch of JSON lines; on return it is on disk.

        Raises:
            OSError: not now; the drain calls ``open`` and offers the batch again.
        """

    def close(self) -> None: ...
