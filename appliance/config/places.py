"""Where in the file the things stand that are only found wrong later."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from appliance.config.document import DocumentError, read_document
from appliance.config.view import spell_path
from appliance.domain.errors import Problem


def located(problems: Iterable[Problem], text: str, file: str) -> list[Problem]:
    """The same problems; those that have a path and no file get both, with the line of the path or of what is above it."""
    lines = _lines(text)
    return [problem if problem.file or not problem.path else _at(problem, lines, file) for problem in problems]


def _at(problem: Problem, lines: dict[str, int], file: str) -> Problem:
    return replace(problem, file=file, line=next((lines[path] for path in _upwards(problem.path) if path in lines), 0))


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]


def _lines(text: str) -> dict[str, int]:
    try:
        document = read_document(text)
    except DocumentError:
        return {}
    return {spell_path(document.data, path): line for path, line in document.lines.items() if path}
