"""Validation errors in the words of the person who wrote the file. Values of secrets never appear in them."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from appliance.config.document import ABSENT, Path, step
from appliance.config.root import AppConfig
from appliance.config.schema import model_at

_PLAIN = {
    "missing": "this key is required",
    "list_type": "must be a list (each item starts with '- ')",
    "dict_type": "must be a mapping (key: value)",
    "model_type": "must be a mapping (key: value)",
    "model_attributes_type": "must be a mapping (key: value)",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "path_type": "must be a path",
    "string_type": "must be text (put it in quotes)",
    "string_pattern_mismatch": "a name has 1 to 64 letters, digits, '_', '.' or '-', and begins with a letter or a digit",
    "union_tag_not_found": "the key 'type' is required",
}


def told(error: ValidationError, data: Any) -> Iterator[tuple[Path, str]]:
    """Each problem as the path in the file and one sentence; the alternatives of a union are joined."""
    grouped: dict[Path, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        path = _in_file(details, data)
        grouped.setdefault(path, []).append(details)
    for path, all_details in grouped.items():
        yield path, _sentence(all_details, path, data)


def _in_file(details: ErrorDetails, data: Any) -> Path:
    """Pydantic's location without what is not in the file: the tags of unions, and the marks of dictionary keys."""
    path: list[str | int] = []
    last = len(details["loc"]) - 1
    for position, part in enumerate(details["loc"]):
        if (below := step(data, part)) is not ABSENT:
            path.append(part)
            data = below
        elif isinstance(data, dict) and position == last and details["type"] == "missing":
            path.append(part)
    return tuple(path)


def _sentence(all_details: list[ErrorDetails], path: Path, data: Any) -> str:
    # the last alternative of a union is the word; the first knows the type
    literal = next((each for each in all_details if each["type"] == "literal_error"), None)
    details = literal or all_details[0]
    context = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(path, data)
        case "literal_error":
            word = _one_of(str(details["input"]), _words(str(context.get("expected", ""))))
            return f"{word}, or a whole number from 1 to 256" if len(all_details) > 1 else word
        case "union_tag_invalid":
            return _one_of(str(context.get("tag", "")), _words(str(context.get("expected_tags", ""))), "type")
        case "value_error":
            return str(context.get("error", details["msg"]))
        case kind if kind.startswith(("date_", "datetime_")):
            return _not_a_date(kind, details["input"])
        case kind if kind in _PLAIN:
            return _PLAIN[kind]
    message = details["msg"].removeprefix("Input ")
    return message[:1].lower() + message[1:]


def _not_a_date(kind: str, value: Any) -> str:
    """``kind``: pydantic's word, of a date or of a date with its time."""
    if kind.startswith("date_"):
        return f"not a date: {str(value)[:64]!r} (write 2027-06-30)"
    return f"not a date and time: {str(value)[:64]!r} (write 2027-06-30T18:00:00+02:00, or without the offset for UTC)"


def _unknown_key(path: Path, data: Any) -> str:
    key = str(path[-1])
    model = model_at(AppConfig, data, path[:-1])
    known = list(model.model_fields) if model else []
    return f"unknown key {key!r}{_hint(key, known)}"


def _one_of(word: str, known: list[str], what: str = "value") -> str:
    return f"unknown {what} {word!r}: one of {', '.join(known)}"


def _words(expected: str) -> list[str]:
    return [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",")]


def _hint(word: str, known: list[str]) -> str:
    near = nearest(word, known)
    if near:
        return f"; did you mean {near!r}?"
    return f"; known here: {', '.join(sorted(known))}" if known else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that a person most likely meant, or nothing."""
    found = difflib.get_close_matches(word[:64].lower().replace("-", "_"), list(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def missing(what: str, name: str, known: list[str]) -> str:
    """A reference to nothing: what exists, and what was probably meant."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return f"no {what} is named {name!r}; {guess}defined: {', '.join(dict.fromkeys(known)) or 'none'}"
