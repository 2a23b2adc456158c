"""What large bodies took comes back."""

import subprocess
import sys

# a small object behind each block keeps its pages from being at the end of the heap, which glibc gives back by itself
_GROW = """
from pathlib import Path
from appliance.app.memory import Memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
blocks, pins = [], []
for _ in range(1500):
    blocks.append(bytes([1]) * 100_000)
    pins.append(bytes(3000))
cycle = [blocks]
cycle.append(cycle)  # as layers and flows: only the collector finds it
del blocks, cycle
before = resident()
given = Memory().give_back(100.0)
print(before, resident(), given, Memory(slack=1 << 40).give_back(100.0))
"""


def test_free_heap_is_given_back() -> None:
    out = subprocess.run([sys.executable, "-c", _GROW], capture_output=True, text=True, check=True, timeout=60).stdout
    before, after, given, more = out.split()
    assert (given, more) == ("True", "False"), out
    assert int(before) > 120_000_000, out
    assert int(after) < 60_000_000, out
