"""What a process does for itself, looked at from outside."""

import os
import subprocess
import sys

import pytest

from appliance import hardening
from tests.e2e.running import ROOT

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


OTHERS = """
import ctypes, os, sys, tempfile
from pathlib import Path
from appliance.hardening import leave_no_trace
from certs.signing import place
os.setgid(65534), os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)  # as any program begins; setuid has taken it away
directory = Path(tempfile.mkdtemp())
if sys.argv[1] == "closed":
    leave_no_trace()
with place.bind(directory) as listening, place.connect(directory):
    accepted, _ = listening.accept()
    print(place.peer_user(accepted), flush=True)
    accepted.close()
(directory / place.NAME).unlink()
directory.rmdir()
watched = os.getpid()
if os.fork() == 0:
    try:
        open(f"/proc/{watched}/mem", "rb").close()
        print("open", flush=True)
    except PermissionError:
        print("closed", flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.security
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
@pytest.mark.parametrize("memory", ["open", "closed"])
def test_tls_08_another_process_of_the_same_account_cannot_read_our_memory(memory: str) -> None:
    """As an account without rights; and a process that has closed itself up still reaches the signer's socket."""
    done = subprocess.run(
        [sys.executable, "-c", OTHERS, memory], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    assert done.stdout.split() == ["65534", memory]


@pytest.mark.security
@pytest.mark.parametrize(("told", "lives"), [(False, True), (True, True), (True, False)])
def test_a_child_that_comes_up_after_its_parent_has_gone_ends(told: bool, lives: bool) -> None:
    """A signer would hold the keys of CAs for ever: the kernel tells only of a parent that ends later."""
    program = "from appliance.hardening import die_with_parent; die_with_parent(); print('alive')"
    environment = {name: value for name, value in os.environ.items() if name != hardening.PARENT}
    environment |= {hardening.PARENT: str(os.getpid() + (0 if lives else 1))} if told else {}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60, check=False)
    assert (done.stdout == "alive\n", done.returncode == 0) == (lives, lives)
    assert lives or "the parent process has gone" in done.stderr
