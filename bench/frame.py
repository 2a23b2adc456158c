"""What the programs have in common that measure by name and write a page: their options, and how they end.

Exit status: 0 done, 1 failed, 2 something is missing or the usage is wrong.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import machine
from bench.measure import FULL, QUICK, Pace, say
from bench.processes import BenchError


@dataclass(frozen=True, slots=True)
class Bench[R]:
    """``names``: what can be measured, and what each is. ``page`` is written when all of it was. ``data``: every sample, for
    JSON. ``needs``: of the lines of what is missing, those that matter. ``enter``: run this program again where it can work,
    and end with its status; None when this is the place."""

    prog: str
    about: str
    page: Path
    names: Mapping[str, str]
    run: Callable[[Set[str], Pace], R]
    markdown: Callable[[R], str]
    data: Callable[[R], Any] | None = None
    needs: Callable[[str], bool] = lambda _: True
    enter: Callable[[Sequence[str]], int | None] = lambda _: None

    def main(self, arguments: Sequence[str]) -> int:
        options = self._options().parse_args(arguments)
        if options.list:
            width = max(map(len, self.names))
            print("\n".join(f"{name:<{width}} {title}".rstrip() for name, title in self.names.items()))
            return 0
        if lines := [line for line in machine.missing() if self.needs(line)]:
            print("bench: something is missing:", *(f"  {line}" for line in lines), sep="\n", file=sys.stderr)
            return 2
        # so that a plain kill, too, takes the ordinary way out and everything down
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        status = self.enter(arguments)
        return self._measured(options) if status is None else status

    def _measured(self, options: argparse.Namespace) -> int:
        try:
            results = self.run(set(options.only or self.names), QUICK if options.quick else FULL)
        except BenchError as error:
            say(f"bench: {error}")
            return 1
        except KeyboardInterrupt:
            say("bench: interrupted, nothing was written")
            return 1
        text = self.markdown(results)
        print(text)
        if self.data is not None and options.json:
            options.json.write_text(json.dumps(self.data(results), indent=1) + "\n")
        if not options.only:
            self.page.write_text(text)
            say(f"bench: written to {self.page}")
        return 0

    def _options(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=self.prog, description=self.about)
        parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, where there are rounds")
        parser.add_argument("--only", action="append", choices=list(self.names), metavar="NAME",
                            help=f"only this (may be repeated); {self.page.name} is not written")  # fmt: skip
        if self.data is not None:
            parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there as well")
        parser.add_argument("--list", action="store_true", help="the names for --only")
        return parser
