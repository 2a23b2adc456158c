"""A small file that another process replaces, as this one knows it: what it says, or what it said last.

Depends on nothing but ``files``; used wherever the admin process or the command line tells something to those that run.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.files import stamp

logger = logging.getLogger(__name__)

SMALL: Final = 64 * 1024
"""Octets that are parsed where they are asked for; more would hold up everything else in an event loop."""
_SIZE: Final = 1
"""Where ``stamp`` has the size."""
_UNSEEN: Final = (-1,)


class Watched[T]:
    """``parse`` makes the value of what is in ``path``, and raises ValueError for anything that nobody of ours has written.
    ``empty`` is the value while there is no file. ``limit``: octets; a larger file is not read. ``take`` is called with each
    new value, in whatever thread has read it.

    A file that cannot be read changes nothing: the last good value holds, and ``trouble`` says why.
    """

    def __init__(
        self, path: Path, parse: Callable[[bytes], T], empty: T, limit: int, take: Callable[[T], None] = lambda _: None
    ) -> None:
        self._path, self._parse, self._empty, self._limit, self._take = path, parse, empty, limit, take
        self._seen: tuple[int, ...] = ()
        """What the file was when it was last judged, be it good or not."""
        self._reading: asyncio.Future[None] | None = None
        self.value = empty
        self.trouble = ""
        """Why the file could not be read; empty when it was, or when there is none."""

    def look(self) -> None:
        """In an event loop: a file that was replaced is read, a large one in a thread, which a later look shows."""
        if self._reading is not None:
            if not self._reading.done():
                return
            self._reading.result()  # what is not the file's fault is ours, and is to be heard of
            self._reading = None
        if self._is_large():
            self._reading = asyncio.get_running_loop().run_in_executor(None, self.refresh)
        else:
            self.refresh()

    def refresh(self) -> None:
        """Read the file if it was replaced; one look at it costs some microseconds."""
        try:
            seen = stamp(self._path)
            if seen == self._seen:
                return
            value = self._parse(self._read()) if seen else self._empty
        except ValueError as error:
            self._seen = seen  # it will not become better before it is replaced
            self._failed(error)
        except OSError as error:
            self._seen = _UNSEEN
            self._failed(error)
        else:
            self._take(value)
            self.value, self._seen, self.trouble = value, seen, ""

    def _is_large(self) -> bool:
        try:
            seen = stamp(self._path)
        except OSError:
            return False
        return bool(seen) and seen != self._seen and seen[_SIZE] > SMALL

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            data = file.read(self._limit + 1)
        if len(data) > self._limit:
            raise ValueError(f"is larger than {self._limit} octets")
        return data

    def _failed(self, error: OSError | ValueError) -> None:
        text = f"{self._path}: {getattr(error, 'strerror', None) or error}"
        if text != self.trouble:
            logger.error("a file of ours cannot be read, and what it said before holds: %s", text)
        self.trouble = text
