"""YAML text to plain data, with the line of every path. Bounded in size, depth and nodes, aliases expanded included.

Works on the parser's events, not on its composer, which recurses: a file of a million brackets ends at the depth limit.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

type Path = tuple[str | int, ...]

MAX_BYTES: Final = 2 * 1024 * 1024
MAX_DEPTH: Final = 32
MAX_NODES: Final = 200_000
"""After aliases are expanded: ten lists of ten aliases each, nine deep, would be 10^9."""

_INT = re.compile(r"[-+]?[0-9]{1,18}\Z|0o[0-7]{1,20}\Z|0x[0-9a-fA-F]{1,15}\Z")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]{1,4})?\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


ABSENT: Final = object()


def step(data: Any, part: str | int) -> Any:
    """One step down a path: a key of a mapping or an index of a list. ABSENT when it is not there."""
    if isinstance(data, dict):
        return data.get(part, ABSENT)
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return data[part]
    return ABSENT


class DocumentError(Exception):
    """The text is no document that can be read. ``line`` counts from 1; 0 is the whole file."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.message, self.line = message, line


@dataclass(frozen=True, slots=True)
class Document:
    """``lines`` has the line of each key and each list item; ``flaws`` are duplicate keys, with their lines."""

    data: Any
    lines: dict[Path, int]
    flaws: list[tuple[Path, int, str]]

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest part of it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_document(raw: bytes | str) -> Document:
    """Parse one YAML 1.2 document (core schema; ``<<`` merges, as tools write it).

    Raises:
        DocumentError: not UTF-8, not YAML, too large, too deep, tagged, or several documents.
    """
    root = _Builder().build(_events(_decode(raw)))
    expander = _Expander()
    data = expander.expand(root, (), 0)
    return Document(data, expander.lines, expander.flaws)


def _decode(raw: bytes | str) -> str:
    if len(raw) > MAX_BYTES:
        raise DocumentError(f"the file is larger than {MAX_BYTES} bytes")
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DocumentError(f"not UTF-8: byte 0x{raw[error.start]:02x}", line) from error


def _events(text: str) -> Iterator[Event]:
    parser = YAML(typ="safe", pure=True)
    try:
        yield from parser.parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DocumentError(_told(error), mark.line + 1 if mark else 0) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DocumentError(f"character U+{ord(text[error.position]):04X} may not stand in YAML", line) from error
    except (YAMLError, ValueError, IndexError, AttributeError, TypeError, OverflowError) as error:
        # the parser itself stumbles over some malformed directives and escapes
        raise DocumentError(f"not YAML: {error}") from error


def _told(error: MarkedYAMLError) -> str:
    problem = error.problem or "cannot be parsed"
    if "'\\t'" in problem:
        return "a tab where YAML wants spaces"
    context = f"{error.context}: " if error.context else ""
    return f"not YAML: {context}{problem}"


@dataclass(slots=True)
class _Node:
    line: int
    value: Any
    """A scalar's value, a list of nodes, or a list of pairs of nodes."""
    kind: str = "scalar"
    text: str = ""
    anchor: str | None = None


@dataclass(slots=True)
class _Builder:
    """Events to a tree in which an alias is the very node of its anchor."""

    stack: list[_Node] = field(default_factory=list)
    anchors: dict[str, _Node] = field(default_factory=dict)
    root: _Node | None = None
    documents: int = 0

    def build(self, events: Iterator[Event]) -> _Node:
        for event in events:
            self._take(event, event.start_mark.line + 1)
        return self.root or _Node(1, None)

    def _take(self, event: Event, line: int) -> None:
        match event:
            case DocumentStartEvent():
                self._count_document(line)
            case ScalarEvent():
                self._add(_scalar(event, line))
            case AliasEvent():
                self._add(self._alias(event.anchor, line))
            case SequenceStartEvent() | MappingStartEvent():
                self._open(event, line)
            case SequenceEndEvent() | MappingEndEvent():
                self._add(self.stack.pop())

    def _count_document(self, line: int) -> None:
        self.documents += 1
        if self.documents > 1:
            raise DocumentError("a second document: one file holds one", line)

    def _alias(self, name: str, line: int) -> _Node:
        if name not in self.anchors:
            raise DocumentError(f"alias *{name} has no anchor &{name} before it", line)
        return self.anchors[name]

    def _open(self, event: Any, line: int) -> None:
        if event.tag is not None and not event.implicit:
            raise DocumentError("tags are not supported", line)
        if len(self.stack) >= MAX_DEPTH:
            raise DocumentError(f"nested deeper than {MAX_DEPTH} levels", line)
        kind = "sequence" if isinstance(event, SequenceStartEvent) else "mapping"
        self.stack.append(_Node(line, [], kind, anchor=event.anchor))

    def _add(self, node: _Node) -> None:
        if node.anchor:
            self.anchors[node.anchor] = node
        if self.stack:
            self.stack[-1].value.append(node)
        else:
            self.root = node


def _scalar(event: Any, line: int) -> _Node:
    if event.tag is not None and not any(event.implicit) and not str(event.tag).endswith(":str"):
        raise DocumentError("tags are not supported", line)
    if _SURROGATE.search(event.value):
        raise DocumentError("half of a surrogate pair, which is no character", line)
    plain = event.style is None and event.tag is None
    return _Node(line, _resolve(event.value) if plain else event.value, text=event.value, anchor=event.anchor)


def _resolve(text: str) -> Any:
    """YAML 1.2 core schema, but for infinities and numbers too long for one, which stay text and fail where a number is due."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if len(text) < 40 and _FLOAT.match(text) and math.isfinite(float(text)):
        return float(text)
    return text


@dataclass(slots=True)
class _Expander:
    """The tree to data. Depth is counted again: an alias puts a subtree below its own level."""

    lines: dict[Path, int] = field(default_factory=dict)
    flaws: list[tuple[Path, int, str]] = field(default_factory=list)
    nodes: int = 0

    def expand(self, node: _Node, path: Path, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise DocumentError(f"more than {MAX_NODES} values, aliases expanded", node.line)
        if depth > MAX_DEPTH:
            raise DocumentError(f"nested deeper than {MAX_DEPTH} levels, aliases expanded", node.line)
        self.lines.setdefault(path, node.line)
        if node.kind == "sequence":
            return [self.expand(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        return self._mapping(node, path, depth) if node.kind == "mapping" else node.value

    def _mapping(self, node: _Node, path: Path, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merged: list[tuple[_Node, _Node]] = []
        for key, value in _pairs(node):
            if key.kind != "scalar":
                self.flaws.append((path, key.line, "a key must be one word"))
            elif key.text == "<<":
                merged += self._merged(value, path)
            elif key.text in data:
                first = self.lines[(*path, key.text)]
                self.flaws.append(((*path, key.text), key.line, f"duplicate key {key.text!r}: first given at line {first}"))
            else:
                data[key.text] = self._entry(key, value, path, depth)
        for key, value in merged:
            if key.text not in data:
                data[key.text] = self._entry(key, value, path, depth)
        return data

    def _entry(self, key: _Node, value: _Node, path: Path, depth: int) -> Any:
        self.lines[(*path, key.text)] = key.line
        return self.expand(value, (*path, key.text), depth + 1)

    def _merged(self, value: _Node, path: Path) -> list[tuple[_Node, _Node]]:
        sources = value.value if value.kind == "sequence" else [value]
        if any(source.kind != "mapping" for source in sources):
            self.flaws.append((path, value.line, "'<<' needs a mapping, or a list of mappings"))
            return []
        self.nodes += sum(len(source.value) for source in sources)
        return [pair for source in sources for pair in _pairs(source) if pair[0].kind == "scalar" and pair[0].text != "<<"]


def _pairs(node: _Node) -> Iterator[tuple[_Node, _Node]]:
    return zip(node.value[::2], node.value[1::2], strict=True)
