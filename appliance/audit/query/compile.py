"""Filters and trees to parameterised SQL.

SQL text is put together from fixed pieces and the column names of ``audit.fields``; everything that a person wrote
goes into parameters. The tenant is a condition of its own around the rest, so no text of a query reaches outside it.
"""

import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.audit.errors import QueryError
from appliance.audit.fields import Field, Kind, find_field
from appliance.audit.query.filter import EventFilter
from appliance.audit.query.parser import MAX_WILDCARDS, parse, wildcards
from appliance.audit.query.syntax import And, Match, Node, Not, Or, Value, Words
from appliance.audit.query.times import parse_time

type Parameter = str | int | float

_WORD_COLUMNS = ("target_host", "url", "user_id", "source_ip", "block_reason", "signature", "rule", "user_agent")
_ID_COLUMNS = ("id", "conn_id")
_FLAGS = {"true": 1, "yes": 1, "1": 1, "false": 0, "no": 0, "0": 0}
_UPPER = frozenset({"method", "scans.method"})
_LOWER = frozenset({"destination_host", "event_type", "action", "reason", "source_ip"})
_INT64 = 2**63


@dataclass(slots=True)
class Condition:
    """SQL for a WHERE, and its parameters by name."""

    sql: str = "1"
    parameters: dict[str, Parameter] = field(default_factory=dict)


def compile_filter(wanted: EventFilter, now: float) -> Condition:
    """The condition of a filter, its query and its tenant.

    Raises:
        QueryError: a value does not fit its field, or the query is none.
    """
    compiler = _Compiler(now)
    parts = [compiler.node(match) for match in _matches(wanted)]
    parts += compiler.range(wanted)
    if wanted.text:
        parts.append(compiler.node(Words(Value((wanted.text,)))))
    tree = parse(wanted.query)
    if tree is not None:
        parts.append(compiler.node(tree))
    sql = " AND ".join(f"({part})" for part in parts) or "1"
    if wanted.tenant is not None:
        sql = f"tenant_id = {compiler.bind(wanted.tenant)} AND ({sql})"
    return Condition(sql, compiler.parameters)


def _matches(wanted: EventFilter) -> list[Match]:
    texts = {
        "user_id": wanted.user,
        "source_ip": wanted.client_ip,
        "destination_host": wanted.host,
        "event_type": wanted.event_type,
        "action": wanted.action,
        "reason": wanted.reason,
        "method": wanted.method,
        "signature": wanted.signature,
    }
    found = [Match(name, ":", _bounded(text)) for name, text in texts.items() if text]
    if wanted.status is not None:
        found.append(Match("status", ":", Value((str(wanted.status),))))
    if wanted.blocked is not None:
        found.append(Match("blocked", ":", Value((str(wanted.blocked).lower(),))))
    return found


def _bounded(text: str) -> Value:
    value = wildcards(text)
    if len(value.pieces) - 1 > MAX_WILDCARDS or len(text) > 1024:
        raise QueryError(f"a filter value is too long, or has more than {MAX_WILDCARDS} wildcards")
    return value


class _Compiler:
    def __init__(self, now: float) -> None:
        self._now = now
        self.parameters: dict[str, Parameter] = {}

    def bind(self, value: Parameter) -> str:
        """A placeholder. Lone surrogates cannot be bound: they become question marks, which match nothing that is stored."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        return f":{name}"

    def range(self, wanted: EventFilter) -> list[str]:
        parts = []
        if wanted.since is not None:
            parts.append(f"created_at >= {self.bind(_finite(wanted.since))}")
        if wanted.until is not None:
            parts.append(f"created_at < {self.bind(_finite(wanted.until))}")
        return parts

    def node(self, node: Node) -> str:
        match node:
            case And(parts):
                return "(" + " AND ".join(self.node(part) for part in parts) + ")"
            case Or(parts):
                return "(" + " OR ".join(self.node(part) for part in parts) + ")"
            case Not(part):
                return f"(NOT {self.node(part)})"
            case Words(value):
                return self._words(value)
            case Match():
                return self._match(node)

    def _words(self, value: Value) -> str:
        if value.anything:
            return "(1)"
        pattern = self.bind(_like(Value(("", *value.pieces, ""))))
        parts = [f"{column} LIKE {pattern} ESCAPE '\\'" for column in _WORD_COLUMNS]
        if value.exact:
            exact = self.bind(value.exact.lower())
            parts += [f"{column} = {exact}" for column in _ID_COLUMNS]
        return "(" + " OR ".join(parts) + ")"

    def _match(self, match: Match) -> str:
        found = find_field(match.field)
        if found is None or found.kind is Kind.MAP:
            raise QueryError(f"there is no field {match.field!r} to search (quote a text with a colon)", match.position)
        condition = self._by_kind(found, match)
        if found.array:
            return _any_item(found.array, condition(_inner(found)))
        if found.kind is Kind.LIST:
            return _any_item(found.name, condition("item.value"))
        if found.column:
            return f"({condition(found.column)})"
        # a field that is not in the event is NULL, and NOT NULL is NULL again: it must be false instead
        return f"coalesce({condition(_json_path(found.name))}, 0)"

    def _by_kind(self, found: Field, match: Match) -> Callable[[str], str]:
        if match.value.anything and match.operator == ":":
            empty = self.bind("" if found.kind in (Kind.TEXT, Kind.IP) else 0)
            return lambda expression: f"({expression} IS NOT NULL AND {expression} <> {empty})"
        if found.kind is Kind.FLAG:
            return self._flag(found, match)
        if found.kind is Kind.NUMBER or found.kind is Kind.TIME:
            return self._number(found, match)
        if match.operator != ":":
            raise QueryError(f"{match.field} is no number: only : can be asked of it", match.position)
        if found.kind is Kind.IP and match.value.exact is not None and "/" in match.value.exact:
            return self._network(match.value.exact, match.position)
        return self._text(found, match.value)

    def _flag(self, found: Field, match: Match) -> Callable[[str], str]:
        flag = _FLAGS.get((match.value.exact or "").lower())
        if flag is None or match.operator != ":":
            raise QueryError(f"{match.field} is true or false", match.position)
        bound = self.bind(flag)
        if found.column:
            return lambda expression: f"{expression} = {bound}"  # bare, or its index would not be used
        return lambda expression: f"coalesce({expression}, 0) = {bound}"

    def _number(self, found: Field, match: Match) -> Callable[[str], str]:
        text = match.value.exact or ""
        number = parse_time(text, self._now) if found.kind is Kind.TIME else _number(text)
        if number is None:
            raise QueryError(f"no {found.kind.value}: {match.value.source!r}", match.position)
        operator = "=" if match.operator == ":" else match.operator
        bound = self.bind(number)
        return lambda expression: f"{expression} {operator} {bound}"

    def _text(self, found: Field, value: Value) -> Callable[[str], str]:
        pieces = tuple(_folded(found, piece) for piece in value.pieces)
        if len(pieces) == 1:
            bound = self.bind(pieces[0])
            return lambda expression: f"{expression} = {bound}"
        pattern = self.bind(_like(Value(pieces)))
        return lambda expression: f"{expression} LIKE {pattern} ESCAPE '\\'"

    def _network(self, text: str, position: int) -> Callable[[str], str]:
        bounds = [self.bind(prefix) for prefix in _prefixes(text, position)]
        return lambda expression: "(" + " OR ".join(f"{expression} GLOB {bound}" for bound in bounds) + ")"


def _any_item(path: str, condition: str) -> str:
    # both come from this program: the path from the table of fields, the condition with placeholders only
    return f"EXISTS (SELECT 1 FROM json_each(metadata, '$.{path}') AS item WHERE {condition})"  # noqa: S608


def _json_path(name: str) -> str:
    return f"json_extract(metadata, '$.{name}')"


def _inner(found: Field) -> str:
    return f"json_extract(item.value, '$.{found.name.removeprefix(found.array + '.')}')"


def _folded(found: Field, text: str) -> str:
    if found.name in _UPPER:
        return text.upper()
    return text.lower() if found.name in _LOWER else text


def _like(value: Value) -> str:
    escaped = [piece.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for piece in value.pieces]
    return "%".join(escaped)


def _number(text: str) -> Parameter | None:
    try:
        number = float(text)
        whole = int(text) if text.lstrip("+-").isdigit() else None
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return whole if whole is not None and -_INT64 < whole < _INT64 else number


def _finite(moment: float) -> float:
    if not math.isfinite(moment):
        raise QueryError("a time must be finite")
    return float(moment)


def _prefixes(text: str, position: int) -> list[str]:
    """Patterns for the addresses of an IPv4 network, at most 128: as text, only whole octets have a common prefix."""
    try:
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError as error:
        raise QueryError(f"no IPv4 network: {text!r}", position) from error
    if network.prefixlen == 32:
        return [str(network.network_address)]
    octets = network.prefixlen // 8 if network.prefixlen % 8 == 0 else network.prefixlen // 8 + 1
    if octets == 0:
        return ["*.*.*.*"]
    patterns = []
    for part in network.subnets(new_prefix=octets * 8):
        head = ".".join(str(part.network_address).split(".")[:octets])
        patterns.append(head if octets == 4 else f"{head}.*")
    return patterns
