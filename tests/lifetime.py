"""Servers of tests end with the tests: also when a run is killed, and no fixture gets to end what it started."""

import sys

_WITH_US = ("setpriv", "--pdeathsig", "KILL") if sys.platform == "linux" else ()


def with_us(*command: str) -> list[str]:
    """The command line under which a program has the same process id, and is killed when the thread that starts it ends:
    start it where the tests themselves run, in the main thread."""
    return [*_WITH_US, *command]
