"""Counters, read where an operator reads them."""

import re
import urllib.request

from tests.e2e.running import Running, wait_until


def counter(appliance: Running, name: str, *values: str) -> float:
    """The sum over all series of ``name`` whose label values contain every one of ``values``."""
    with urllib.request.urlopen(f"http://127.0.0.1:{appliance.admin_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    total = 0.0
    for line in text.splitlines():
        match = re.match(rf"{name}(?:\{{(.*)\}})? (\S+)$", line)
        if match and set(values) <= set(re.findall(r'="([^"]*)"', match[1] or "")):
            total += float(match[2])
    return total


def rises(appliance: Running, before: float, name: str, *values: str) -> None:
    """Wait until the counter is above ``before``."""
    wait_until(lambda: counter(appliance, name, *values) > before, 10, f"{name} {values} above {before}")
