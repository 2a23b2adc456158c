"""One line to a tree.

    query  = [ or ]                      an empty query asks for everything
    or     = and { "or" and }
    and    = not { [ "and" ] not }
    not    = "not" not | "(" or ")" | field operator value | value
    value  = word | '"' phrase '"'       also ``field:(a or b)``, with operator ``:``

Words of the language are written in any case. ``\\`` takes the next character literally; ``*`` is a wildcard
outside quotes. Every text gives a tree or a QueryError, in linear time: depth, terms and length are bounded.
"""

import re
from dataclasses import dataclass
from enum import Enum

from appliance.audit.errors import QueryError
from appliance.audit.query.syntax import And, Match, Node, Not, Or, Value, Words

MAX_LENGTH = 4096
MAX_DEPTH = 32
MAX_TERMS = 128
MAX_WILDCARDS = 5
"""For each value. LIKE takes time by the power of its wildcards."""

_OPERATOR = re.compile(r":|>=|<=|>|<")
_WORD = re.compile(r'(?:\\.|[^\s()":<>\\])+')
_VALUE_WORD = re.compile(r'(?:\\.|[^\s()"\\])+')
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_SPACE = re.compile(r"\s*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class _Kind(Enum):
    WORD = "word"
    QUOTED = "quoted"
    OPERATOR = "operator"
    OPEN = "("
    CLOSE = ")"
    END = "end"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: _Kind
    text: str
    position: int

    def is_word(self, word: str) -> bool:
        return self.kind is _Kind.WORD and self.text.lower() == word


def parse(text: str) -> Node | None:
    """The tree of a query; None when it asks for everything.

    Raises:
        QueryError: the text is no query; nothing else is ever raised.
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"the query is longer than {MAX_LENGTH} characters")
    return _Parser(_tokens(text)).parse()


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = _skip(text, 0)
    while position < len(text):
        token, position = _token(text, position, bool(tokens) and tokens[-1].kind is _Kind.OPERATOR)
        tokens.append(token)
        position = _skip(text, position)
    tokens.append(_Token(_Kind.END, "", len(text)))
    return tokens


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _token(text: str, position: int, after_operator: bool) -> tuple[_Token, int]:
    char = text[position]
    if char in "()":
        return _Token(_Kind.OPEN if char == "(" else _Kind.CLOSE, char, position), position + 1
    if char == '"':
        match = _QUOTED.match(text, position)
        if not match:
            raise QueryError("the quote is not closed", position)
        return _Token(_Kind.QUOTED, match[1], position), match.end()
    # a value may hold colons (an IPv6 address, a time, a URL), a field may not
    if not after_operator and (match := _OPERATOR.match(text, position)):
        return _Token(_Kind.OPERATOR, match[0], position), match.end()
    match = (_VALUE_WORD if after_operator else _WORD).match(text, position)
    if not match:
        raise QueryError("a lone backslash", position)
    return _Token(_Kind.WORD, match[0], position), match.end()


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._index = 0
        self._depth = 0
        self._terms = 0

    def parse(self) -> Node | None:
        if self._peek().kind is _Kind.END:
            return None
        node = self._or()
        token = self._peek()
        if token.kind is not _Kind.END:
            raise QueryError(f"not expected here: {token.text!r}", token.position)
        return node

    def _peek(self) -> _Token:
        return self._tokens[self._index]

    def _next(self) -> _Token:
        token = self._tokens[self._index]
        self._index = min(self._index + 1, len(self._tokens) - 1)
        return token

    def _or(self, field: _Token | None = None) -> Node:
        parts = [self._and(field)]
        while self._peek().is_word("or"):
            self._next()
            parts.append(self._and(field))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self, field: _Token | None) -> Node:
        parts = [self._not(field)]
        while True:
            if self._peek().is_word("and"):
                self._next()
            elif self._peek().kind in (_Kind.END, _Kind.CLOSE, _Kind.OPERATOR) or self._peek().is_word("or"):
                return parts[0] if len(parts) == 1 else And(tuple(parts))
            parts.append(self._not(field))

    def _not(self, field: _Token | None) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise QueryError(f"nested deeper than {MAX_DEPTH} levels", self._peek().position)
        node = self._primary(field)
        self._depth -= 1
        return node

    def _primary(self, field: _Token | None) -> Node:
        token = self._next()
        if token.is_word("not"):
            return Not(self._not(field))
        if token.kind is _Kind.OPEN:
            return self._group(field, token)
        if token.kind not in (_Kind.WORD, _Kind.QUOTED) or token.is_word("and") or token.is_word("or"):
            raise QueryError(f"not expected here: {token.text or 'the end'!r}", token.position)
        if self._peek().kind is _Kind.OPERATOR:
            return self._comparison(field, token)
        self._count(token)
        return _match(field, ":", token) if field else Words(_value(token))

    def _group(self, field: _Token | None, opening: _Token) -> Node:
        node = self._or(field)
        if self._next().kind is not _Kind.CLOSE:
            raise QueryError("the parenthesis is not closed", opening.position)
        return node

    def _comparison(self, field: _Token | None, name: _Token) -> Node:
        operator = self._next()
        if field is not None or name.kind is _Kind.QUOTED:
            raise QueryError(f"not expected here: {operator.text!r}", operator.position)
        self._count(name)
        token = self._next()
        if token.kind is _Kind.OPEN and operator.text == ":":
            return self._group(name, token)
        if token.kind not in (_Kind.WORD, _Kind.QUOTED):
            raise QueryError(f"{name.text} needs a value", operator.position)
        return _match(name, operator.text, token)

    def _count(self, token: _Token) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise QueryError(f"more than {MAX_TERMS} terms", token.position)


def _match(field: _Token, operator: str, token: _Token) -> Match:
    return Match(_ESCAPE.sub(r"\1", field.text), operator, _value(token), field.position)


def _value(token: _Token) -> Value:
    if token.kind is _Kind.QUOTED:
        return Value((_ESCAPE.sub(r"\1", token.text),))
    value = wildcards(token.text)
    if len(value.pieces) - 1 > MAX_WILDCARDS:
        raise QueryError(f"more than {MAX_WILDCARDS} wildcards in one value", token.position)
    return value


def wildcards(text: str) -> Value:
    """A value in which ``*`` stands for anything; runs of them are one, and a backslash makes the next character literal."""
    pieces = [""]
    chars = iter(text)
    for char in chars:
        if char == "\\":
            pieces[-1] += next(chars, "\\")
        elif char != "*":
            pieces[-1] += char
        elif len(pieces) == 1 or pieces[-1]:
            pieces.append("")
    return Value(tuple(pieces))
