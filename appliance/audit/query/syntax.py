"""The tree that a one-line query becomes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Value:
    """A value as literal pieces; between two pieces stands a wildcard. One piece is an exact value."""

    pieces: tuple[str, ...]

    @property
    def exact(self) -> str | None:
        return self.pieces[0] if len(self.pieces) == 1 else None

    @property
    def anything(self) -> bool:
        return len(self.pieces) > 1 and not any(self.pieces)

    @property
    def source(self) -> str:
        return "*".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Match:
    """``operator`` is ``:``, ``>``, ``>=``, ``<`` or ``<=``. ``position``: where the field stands, for error messages."""

    field: str
    operator: str
    value: Value
    position: int = -1


@dataclass(frozen=True, slots=True)
class Words:
    """Free text, in any of the fields a person would look at."""

    value: Value


@dataclass(frozen=True, slots=True)
class Not:
    part: "Node"


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple["Node", ...]


type Node = Match | Words | Not | And | Or
