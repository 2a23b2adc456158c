"""What a process does for itself, looked at from outside."""

import os
import subprocess
import sys

import pytest

from appliance import hardening

PROGRAM = """
import ctypes, resource
from appliance.hardening import leave_no_trace, lock_memory
leave_no_trace()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
print(lock_memory())
print(next(line for line in open("/proc/self/status") if line.startswith("VmLck:")))
grown = bytearray(64 << 20)
"""


def ran() -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


@pytest.mark.security
def test_tls_08_no_core_dump_and_no_foreign_look_into_memory() -> None:
    assert ran()[0] == "(0, 0) 0"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs CAP_IPC_LOCK")
def test_memory_is_locked_only_where_it_may_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = ran()
    assert locked[1] == ""
    assert int(locked[2].split()[1]) > 1024
    monkeypatch.setattr(hardening, "_privileged", lambda: False)
    monkeypatch.setattr(hardening.resource, "getrlimit", lambda _: (65536, 65536))
    assert "RLIMIT_MEMLOCK is 65536 bytes" in hardening.lock_memory()
