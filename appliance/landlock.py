"""Files that this process, and whatever it starts, can never read again, whoever owns them: Landlock (landlock(7)).

Landlock knows permissions only, no exceptions: what may be read is everything beside the way down to a secret. So what comes
to stand later directly in one of the folders on that way cannot be read either; deeper down, everything can.
"""

import ctypes
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
"""The same numbers on all architectures."""
_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_READ_FILE: Final = 1 << 2
_REFER: Final = 1 << 13
"""Links and renames from one folder into another: without it a secret could be moved to where it may be read."""
_REFER_SINCE: Final = 2
"""The version of Landlock (Linux 5.19). Before, no file could be moved between folders at all."""
_REPLACED: Final = Path("/etc")
"""Programs of others replace single files there, such as resolv.conf; whoever descends into it would not see the new ones."""


class NotClosed(Exception):
    """Nothing was restricted, and why."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def close_files(secrets: Collection[Path], read_again: Collection[Path] = ()) -> None:
    """Take the right to read these files from this process for good; they need not exist yet. Call it before there are threads.

    ``read_again``: files that are read once more when somebody has put another in their place.

    Raises:
        NotClosed: the system does not have it or does not let us, or where the files are does not allow it.
    """
    wanted = {each for path in secrets for each in (_real(path), path.resolve())}  # a link, and the file that it leads to
    above = {folder for path in wanted for folder in path.parents}
    if _REPLACED in above:
        raise NotClosed(f"a key is under {_REPLACED}, where other files are replaced while we run")
    if lost := [path for path in read_again if path.parent.resolve() in above]:
        raise NotClosed(f"{lost[0]} is in a folder above the keys, and a new one in its place could not be read")
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise NotClosed("there are threads already")
    libc = ctypes.CDLL(None, use_errno=True)
    if _call(libc, _CREATE_RULESET, None, 0, _VERSION) < _REFER_SINCE:
        raise NotClosed("this kernel's Landlock is too old")
    handled = _Ruleset(_READ_FILE | _REFER)
    ruleset = _call(libc, _CREATE_RULESET, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    try:
        for path in _beside(Path("/"), above, wanted):
            _allow(libc, ruleset, path)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise NotClosed("no_new_privs was refused")
        _call(libc, _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _real(path: Path) -> Path:
    """Its folder without links: the way that the kernel goes."""
    return path.parent.resolve() / path.name


def _beside(folder: Path, above: Collection[Path], secrets: Collection[Path]) -> Iterator[Path]:
    """Everything that is not on the way to a secret."""
    try:
        with os.scandir(folder) as found:
            entries = [(Path(entry.path), entry.is_symlink()) for entry in found]
    except FileNotFoundError:
        return
    except OSError as error:
        raise NotClosed(f"{folder} cannot be listed: {error.strerror}") from error
    for path, link in entries:
        if path in above:
            yield from _beside(path, above, secrets)
        elif not link and path not in secrets:  # a link's target has a place of its own
            yield path


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # gone meanwhile, or nothing that we could read anyway
        return
    try:
        allowed = _READ_FILE | _REFER if path.is_dir() else _READ_FILE
        _call(libc, _ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(_Beneath(allowed, fd)), 0)
    finally:
        os.close(fd)


def _call(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    result = int(libc.syscall(number, *arguments))
    if result < 0:
        raise NotClosed(f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result
