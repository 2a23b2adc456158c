"""The models, looked at from outside: which model stands at a path, which keys it has, what its docstrings say."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from types import UnionType
from typing import Annotated, Any, Literal, TypeAliasType, Union, get_args, get_origin

from appliance.config.document import Path, step
from appliance.config.values import Node


def models_in(annotation: Any) -> list[type[Node]]:
    """Every model that a field's annotation admits, through lists, unions and aliases, in order."""
    if isinstance(annotation, TypeAliasType):
        return models_in(annotation.__value__)
    if inspect.isclass(annotation) and issubclass(annotation, Node):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def is_list(annotation: Any) -> bool:
    """Whether the field is a list, or may be one."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return any(is_list(part) for part in get_args(annotation))
    return get_origin(annotation) is list


def type_words(model: type[Node]) -> tuple[str, ...]:
    """The values of ``type`` that select this model; none when it has no such key."""
    field = model.model_fields.get("type")
    return get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()


def model_at(root: type[Node], data: Any, path: Path) -> type[Node] | None:
    """The model of the mapping at ``path``, chosen by the ``type`` that the data has along the way."""
    model: type[Node] | None = root
    for part in path:
        data = step(data, part)
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part) if model else None
        candidates = models_in(field.annotation) if field else []
        model = _chosen(candidates, data)
        if model is None and candidates:
            model = candidates[0]
        if len(candidates) > 1 and isinstance(data, list):
            return _among(candidates, data, path[path.index(part) + 1 :])
    return model


def _among(candidates: list[type[Node]], items: list[Any], rest: Path) -> type[Node] | None:
    """Below a list whose items differ in type."""
    if not rest or not isinstance(rest[0], int) or rest[0] >= len(items):
        return None
    item = items[rest[0]]
    chosen = _chosen(candidates, item)
    return model_at(chosen, item, rest[1:]) if chosen else None


def _chosen(candidates: list[type[Node]], data: Any) -> type[Node] | None:
    if len(candidates) == 1:
        return candidates[0]
    word = data.get("type") if isinstance(data, dict) else None
    return next((model for model in candidates if word in type_words(model)), None)


@lru_cache(maxsize=256)
def field_docs(model: type[Node]) -> dict[str, str]:
    """The string under each field, inherited ones included; a field without one is not in the result."""
    docs: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, Node) and cls is not Node:
            docs |= dict(_strings_under_fields(cls))
    return {name: docs[name] for name in model.model_fields if name in docs}


def _strings_under_fields(cls: type[Node]) -> Iterator[tuple[str, str]]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    for field, after in pairwise(body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
