"""The bodies of one tenant: a folder, and the tenant's key."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from appliance.domain.quarantine import Damaged, Item, Keeping, QuarantineError
from appliance.files import locked, sync, write_whole
from appliance.quarantine.sealed_file import Ring, SealedFile, write

_ID: Final = re.compile(r"[0-9a-f]{32}\Z")
_AGAIN: Final = ".again"
_PART: Final = ".part"
_LOCK: Final = ".lock"


@dataclass(frozen=True, slots=True)
class Stored:
    """One file. ``at``: when its body was found, seconds since the epoch; ``size``: octets on disk."""

    id: str
    at: float
    size: int


class Bounds(Protocol):
    """What a tenant may have: octets on disk, files, and seconds. See ``config.quarantine.Quarantine``."""

    @property
    def max_total(self) -> int: ...
    @property
    def max_items(self) -> int: ...
    @property
    def max_age(self) -> float: ...


class Cabinet:
    """All of this may block. Names of bodies come from the tenant's key, so that one body has one name within a tenant, and
    nobody can tell whether two tenants have the same."""

    def __init__(self, folder: Path, tenant: str, ring: Ring) -> None:
        self.tenant = tenant
        self._folder = folder
        self._ring = ring

    def name_of(self, sha256: str) -> str:
        return self._ring.name(b"quarantine\0" + sha256.encode())

    # -- writing -------------------------------------------------------------------------------------------------------

    def keep(self, item: Item, source: BinaryIO, limits: Bounds) -> Keeping:
        """Put a body away, or count it when it is there. A crash leaves no part of it where it can be listed.

        Raises:
            OSError: it cannot be written; nothing of it stays.
            Damaged: ``source`` is not what the item says.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone():
            if self._intact(item.id):
                self._count(item.id)
                return Keeping.AGAIN
            if self.full(limits):
                return Keeping.FULL
            self._write(item, source)
        return Keeping.KEPT

    def _write(self, item: Item, source: BinaryIO) -> None:
        draft = self._folder / f".{item.id}{_PART}"
        self._again(item.id).unlink(missing_ok=True)
        try:
            descriptor = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                write(out, self._ring, item, source)
                out.flush()
                os.fsync(descriptor)
                os.utime(descriptor, (item.at, item.at))
            draft.replace(self._folder / item.id)
        finally:
            draft.unlink(missing_ok=True)
        sync(self._folder)

    def _count(self, item_id: str) -> None:
        write_whole(self._again(item_id), str(self._times(item_id)).encode(), durable=False)

    # -- reading -------------------------------------------------------------------------------------------------------

    def stored(self) -> list[Stored]:
        """Every file, the oldest first; parts of bodies are none."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if _ID.match(entry.name):
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        status = entry.stat(follow_symlinks=False)
                        found.append(Stored(entry.name, status.st_mtime, status.st_size))
        return sorted(found, key=lambda each: (each.at, each.id))

    def full(self, limits: Bounds) -> bool:
        """It takes nothing until the oldest are deleted: it is exceeded by one body at most."""
        stored = self.stored()
        return len(stored) > limits.max_items or sum(each.size for each in stored) > limits.max_total

    def item(self, item_id: str) -> Item:
        """What is known of a body; ``damaged`` where its file cannot be read. Raises QuarantineError: there is none."""
        try:
            with self.open(item_id) as opened:
                return opened.item
        except Damaged:
            with self._file(item_id) as stream:
                return Item(item_id, self.tenant, os.fstat(stream.fileno()).st_mtime, damaged=True)

    @contextmanager
    def open(self, item_id: str) -> Iterator[SealedFile]:
        """To read it. Raises QuarantineError: there is none; Damaged."""
        with self._file(item_id) as stream:
            opened = SealedFile(stream, self._ring, self.tenant, item_id)
            opened.item = replace(opened.item, times=self._times(item_id))
            yield opened

    def _file(self, item_id: str) -> BinaryIO:
        if not _ID.match(item_id):
            raise _missing(item_id)
        try:
            descriptor = os.open(self._folder / item_id, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise _missing(item_id) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise _missing(item_id)
        return os.fdopen(descriptor, "rb")

    def _intact(self, item_id: str) -> bool:
        try:
            return not self.item(item_id).damaged
        except QuarantineError:
            return False

    def _times(self, item_id: str) -> int:
        """How often it was met: once when it was written, and what was counted since."""
        try:
            text = self._again(item_id).read_text("ascii", "replace")
        except OSError:
            return 1
        return 1 + int(text) if re.fullmatch(r"[0-9]{1,15}", text) else 1

    # -- deleting ------------------------------------------------------------------------------------------------------

    def remove(self, item_id: str) -> None:
        """Raises OSError; QuarantineError where there is none."""
        if not _ID.match(item_id):
            raise _missing(item_id)
        try:
            (self._folder / item_id).unlink()
        except FileNotFoundError as error:
            raise _missing(item_id) from error
        self._again(item_id).unlink(missing_ok=True)
        sync(self._folder)

    def sweep(self) -> None:
        """Delete what a crash has left: whoever writes holds the lock, so that nothing under way is taken. Raises OSError."""
        with suppress(FileNotFoundError), self._alone():
            for file in self._folder.iterdir():
                left = file.name.endswith(_PART) or (file.suffix == _AGAIN and not file.with_suffix("").exists())
                if left or (file.name.startswith(".") and file.name != _LOCK):
                    file.unlink(missing_ok=True)

    def _again(self, item_id: str) -> Path:
        return self._folder / f"{item_id}{_AGAIN}"

    def _alone(self) -> AbstractContextManager[None]:
        return locked(self._folder / _LOCK)


def _missing(item_id: str) -> QuarantineError:
    return QuarantineError(f"there is no quarantined body {item_id[:64]!r}", "`arcus quarantine list` shows them")
