"""docs/cli.md, from the commands: `python -m appliance.cli.reference docs/cli.md`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from appliance.cli.root import command

_INTRO: Final = """# The `arcus` command

Made from the commands by `python -m appliance.cli.reference docs/cli.md`. Answers go to standard output; problems go to
standard error, with a hint what to do. `ARCUS_CONFIG` can stand for `-c FILE`.

| exit status | |
|---|---|
| 0 | done |
| 1 | failed, or found problems |
| 2 | wrong usage |
| 130 | interrupted |
"""


def markdown() -> str:
    """The page. Raises ValueError naming a command or option without help, or a command without an example."""
    return "\n".join([_INTRO, *_sections(command(), "arcus")])


def _sections(node: Any, name: str) -> Iterator[str]:
    for word, inner in sorted(getattr(node, "commands", {}).items()):
        full = f"{name} {word}"
        if hasattr(inner, "commands"):
            yield from _sections(inner, full)
        else:
            yield _section(inner, full)


def _section(node: Any, name: str) -> str:
    if not node.help or not node.epilog:
        raise ValueError(f"{name}: no help, or no example")
    paragraphs = "\n\n".join(" ".join(part.split()) for part in node.help.split("\n\n"))
    rows = [_row(parameter, name) for parameter in node.params if parameter.name != "help"]
    table = ["| | |", "|---|---|", *rows, ""] if rows else []
    shown = [line.strip() for line in node.epilog.splitlines() if line.startswith("  ")]
    return "\n".join([f"## {name}\n", paragraphs + "\n", *table, "```", *shown, "```", ""])


def _row(parameter: Any, name: str) -> str:
    if not parameter.help:
        raise ValueError(f"{name}: {parameter.name} has no help")
    flags = [*parameter.opts, *parameter.secondary_opts] if parameter.param_type_name == "option" else []
    words = [", ".join(f"`{flag}`" for flag in flags), f"`{parameter.metavar}`" if parameter.metavar else ""]
    spelled = " ".join(word for word in words if word).replace("|", "\\|")
    required = " Required." if parameter.required else ""
    return f"| {spelled} | {parameter.help}{required} |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
