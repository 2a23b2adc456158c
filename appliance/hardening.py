"""What every process does for itself before it holds a secret."""

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_MCL_ALL = 1 | 2
"""MCL_CURRENT and MCL_FUTURE (mlockall(2))."""


def leave_no_trace() -> None:
    """No core dump, which would hold keys; nor may a process of the same user read this one's memory (PR_SET_DUMPABLE)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


PARENT = "ARCUS_PARENT"
"""The variable in which a process tells its children who it is."""


def die_with_parent() -> None:
    """Ends this process when its parent has gone before it could ask to be told: nobody would ever stop it."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = os.getppid()
    if os.environ.get(PARENT, str(parent)) != str(parent):
        raise SystemExit("arcus: the parent process has gone")


def lock_memory() -> str:
    """Keep this process's memory out of swap. Why not, where the system does not let us; otherwise an empty string.

    With less than unlimited RLIMIT_MEMLOCK, the lock of today would make an allocation of tomorrow fail: then there is none.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    libc = ctypes.CDLL(None, use_errno=True)
    if soft != resource.RLIM_INFINITY and not _privileged():
        return f"RLIMIT_MEMLOCK is {soft} bytes; set LimitMEMLOCK=infinity to keep the signer out of swap"
    if libc.mlockall(_MCL_ALL) != 0:
        return f"mlockall failed with error {ctypes.get_errno()}"
    return ""


_CAP_IPC_LOCK = 14


def _privileged() -> bool:
    with open("/proc/self/status") as status:  # noqa: PTH123 - a line of a kernel file
        effective = next((line for line in status if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(effective.split()[1], 16) >> _CAP_IPC_LOCK & 1)
