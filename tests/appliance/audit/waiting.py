"""Waiting for what threads and processes do, with a deadline that is only reached when something is wrong."""

import time
from collections.abc import Callable

DEADLINE = 30.0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.01)
