"""docs/configuration.md, from the models: `python -m appliance.config.reference docs/configuration.md`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeAliasType, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from appliance.config import escaper, values
from appliance.config.root import AppConfig
from appliance.config.schema import field_docs, models_in, type_words
from appliance.config.values import Node

_KINDS: Final[tuple[tuple[object, str], ...]] = (
    (values.Seconds, "duration"),
    (values.Size, "size"),
    (values.Share, "share"),
    (values.Address, "host:port"),
    (values.Network, "network"),
    (values.Host, "host"),
    (values.Domain, "domain"),
    (values.Regex, "regex"),
    (values.Url, "URL"),
    (values.IcapUri, "ICAP URI"),
    (values.HostPort, "host:port"),
    (values.Name, "name"),
    (values.Port, "port"),
    (values.FilePath, "path"),
    (escaper.BindIp, "list of IP address"),
    (SecretStr, "secret text"),
    (str, "text"),
    (bool, "true or false"),
    (int, "number"),
    (float, "number"),
)
_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_INTRO: Final = """# Configuration

One YAML file. `arcus check -c FILE` tells everything that is wrong with it, as `FILE:LINE: PATH: MESSAGE`; an unknown key
is an error. Lists hold nodes that refer to each other by name; where there are several kinds of a node, `type` selects one.
This page is made from the models in `appliance/config` by `python -m appliance.config.reference docs/configuration.md`.

| value | is written |
|---|---|
| duration | `500ms`, `30s`, `5m`, `2h`, `1d`; a bare number is seconds |
| date | `2027-06-30`; with a time: `2027-06-30T18:00:00+02:00` |
| size | `512`, `64K`, `100M`, `2G`, in powers of 1024 |
| rate | `1000/s`, `60/m`, `100M/s`; a bare number is per second |
| share | `25%`, `0.5%` |
| host:port | `127.0.0.1:8080`, `[::]:8080` (IPv6 and IPv4), `proxy.example.com:3128`; port 0 takes a free one |
| network | `10.0.0.0/8`, `2001:db8::/32`, or one address; no host bits |
| host | a host name or an IP address |
| domain | a host, or `.example.com` for the name and everything below it |
| URL | `https://intranet.example.com/why`, without user information |
| ICAP URI | `icap://127.0.0.1:1344/respmod`; port 1344 when none is given |
| regex | a Python regular expression, at most 512 characters, without repeats of repeats |
| name | 1 to 64 letters, digits, `_`, `.`, `-` |
| path | relative paths are taken from the configuration file's folder |

YAML: one document in UTF-8, at most 2 MiB, 32 levels and 200,000 values with aliases expanded; no tags, no duplicate keys.
"""


def markdown() -> str:
    """The page. Raises ValueError naming a model or key without a docstring."""
    parts = [_INTRO, "## The file\n", _about(AppConfig), _table(AppConfig)]
    seen: set[type[Node]] = set()
    hints = get_type_hints(AppConfig, include_extras=True)
    for key in AppConfig.model_fields:
        models = [model for model in models_in(hints[key]) if model not in seen]
        if models:
            parts.append(f"## {key}\n")
        for model in models:
            parts += _sections(model, key, seen)
    return "\n".join(parts)


def _sections(model: type[Node], path: str, seen: set[type[Node]]) -> Iterator[str]:
    if model in seen:
        return
    seen.add(model)
    if words := type_words(model):
        yield f"### {path}, type {' or '.join(words)}\n"
    elif "." in path:
        yield f"### {path}\n"
    yield _about(model)
    yield _table(model)
    for key, hint in get_type_hints(model, include_extras=True).items():
        for inner in models_in(hint):
            yield from _sections(inner, f"{path}.{key}", seen)


def _about(model: type[Node]) -> str:
    if not model.__doc__ or model.__doc__ == BaseModel.__doc__:
        raise ValueError(f"{model.__name__} has no docstring")
    return _code(" ".join(model.__doc__.split())) + "\n"


def _table(model: type[Node]) -> str:
    docs, hints = field_docs(model), get_type_hints(model, include_extras=True)
    rows = ["| key | value | default | |", "|---|---|---|---|"]
    for key, field in model.model_fields.items():
        if key not in docs:
            raise ValueError(f"{model.__name__}.{key} has no docstring")
        text = _code(" ".join(docs[key].split())).replace("|", "\\|")
        rows.append(f"| `{key}` | {_kind(hints[key])} | {_default(field, hints[key])} | {text} |")
    return "\n".join(rows) + "\n"


def _code(text: str) -> str:
    return text.replace("``", "`")


def _kind(hint: Any) -> str:
    """A type in words."""
    for known, words in _KINDS:
        if hint is known or _narrows(hint, known):
            return words
    if isinstance(hint, TypeAliasType):
        return _kind(hint.__value__)
    origin, arguments = get_origin(hint), get_args(hint)
    if models := models_in(hint):
        several = "list of " if origin is list else ""
        return several + ("mappings" if several else "mapping") + (" with `type`" if type_words(models[0]) else "")
    if origin is Annotated:
        return _kind(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join(_kind(part) for part in arguments if part is not type(None))
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in arguments)
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"{_kind(arguments[0])}: {_kind(arguments[1])}"
    return {"datetime": "date and time", "date": "date"}.get(getattr(hint, "__name__", ""), str(hint))


def _narrows(hint: Any, known: Any) -> bool:
    """Whether ``hint`` is ``known`` with or without further constraints, such as bounds."""
    if get_origin(hint) is not Annotated or get_origin(known) is not Annotated:
        return False
    metadata = known.__metadata__
    return bool(hint.__origin__ == known.__origin__ and hint.__metadata__[: len(metadata)] == metadata)


def _default(field: FieldInfo, hint: Any) -> str:
    if field.is_required():
        return "**required**"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, Node):
        return "its defaults"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`" if value else "empty"
    if _narrows(hint, values.Share):
        return f"`{value:.0%}`"
    if _narrows(hint, values.Seconds):
        return f"`{_duration(float(value))}`"
    return f"`{_size(value)}`" if _narrows(hint, values.Size) else f"`{value}`" if value not in ("", {}) else "empty"


def _duration(seconds: float) -> str:
    unit, length = next(((unit, length) for unit, length in _UNITS if seconds and seconds % length == 0), ("s", 1))
    return f"{seconds / length:g}{unit}"


def _size(number: int) -> str:
    for unit, power in (("G", 3), ("M", 2), ("K", 1)):
        if number and number % 1024**power == 0:
            return f"{number // 1024**power}{unit}"
    return str(number)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
