"""Work that must leave nothing in this process's memory: it is done in a forked one, which then ends."""

import os
import pickle
import sys
import traceback
from collections.abc import Callable

from appliance.domain.errors import ConfigError, Problem
from appliance.hardening import leave_no_trace

_BROKEN = 70
"""EX_SOFTWARE (sysexits.h)."""


def apart(work: Callable[[], object]) -> None:
    """Do ``work`` in a process of its own and wait for its end. Call it before any thread is started.

    Raises:
        ConfigError: what the work raised.
        RuntimeError: the process ended in another way; standard error has the trace.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os._exit(_do(work, writer))
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        told = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0:
        raise RuntimeError(f"a check in a process of its own ended with status {status}")
    problems: list[Problem] = pickle.loads(told)  # noqa: S301 - written by ourselves, above
    if problems:
        raise ConfigError(problems)


def _do(work: Callable[[], object], writer: int) -> int:
    """In the forked process: what is wrong goes to the parent; nothing else of what is known here does."""
    try:
        leave_no_trace()
        problems: list[Problem] = []
        try:
            work()
        except ConfigError as error:
            problems = error.problems
        with os.fdopen(writer, "wb") as stream:
            stream.write(pickle.dumps(problems))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return _BROKEN
    return 0
