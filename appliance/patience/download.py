"""One download that is waited for, in the worker that holds it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Final, Protocol

from appliance.config.patience import Patience
from appliance.domain.reason import Reason
from appliance.patience.ticket import Asking
from appliance.patience.view import Headers, Page, State, View

STALL: Final = 60.0
"""Seconds without an octet from the server after which it is given up, unless the scanner holds it back."""
MAX_FETCHING: Final = 16
"""Deliveries of one file at a time: each holds a descriptor or two, and of a small file a copy."""
MAX_PAGE: Final = 64 * 1024
"""Octets of an answer that is shown in place of the file; longer ones are some service's, and cut."""


class Held(Protocol):
    """See ``icap.client.body``."""

    size: int
    ended: bool

    @property
    def pressed(self) -> bool: ...
    @property
    def sha256(self) -> str: ...
    def copy(self) -> BinaryIO: ...
    def close(self) -> None: ...


class Task(Protocol):
    """The task of the audit log that a download is."""

    def cancel(self) -> None:
        """End the scan, and the server's transfer."""

    def record(self, reason: Reason, detail: str, sent: int) -> None:
        """How it ended; ``sent``: octets that its client got. Raises where there is no room for the record."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a download is. ``total``: octets announced."""

    name: str
    url: str
    total: int | None


@dataclass(slots=True)
class Opened:
    """A clean file for who delivers it. ``descriptor`` is the receiver's to close."""

    descriptor: int
    size: int
    headers: Headers
    etag: str


@dataclass(slots=True)
class Download:
    """``arriving`` is the body as it comes from the server. ``ticks``: seconds of a clock that never goes back."""

    number: str
    asking: Asking
    label: Label
    arriving: Held
    task: Task
    config: Patience
    ticks: Callable[[], float]
    seen: float = 0.0
    state: State = State.RECEIVING
    reason: Reason = Reason.OK
    pages: int = 0
    fetching: int = 0
    _page: Page | None = None
    _file: Held | None = None
    _headers: Headers = ()
    _sent: list[tuple[int, int]] = field(default_factory=list)
    """What was delivered: ranges that do not touch, in order."""
    _octets: int = 0
    _progress: tuple[int, float] = (-1, 0.0)

    def __post_init__(self) -> None:
        self.seen = self.ticks()

    @property
    def waits(self) -> bool:
        return self.state in (State.RECEIVING, State.SCANNING)

    @property
    def open(self) -> bool:
        """It counts for the limits."""
        return self.waits or self.state is State.READY

    # -- its pages -----------------------------------------------------------------------------------------------------

    def look(self) -> View:
        self.seen = self.ticks()
        self.pages += 1
        if self.state is State.RECEIVING and self.arriving.ended:
            self.state = State.SCANNING
        size = self.arriving.size if self.waits else self._file.size if self._file is not None else 0
        return View(self.state, self.label.name, self.label.url, size, self.label.total, self.reason, self._page)

    # -- the verdict ---------------------------------------------------------------------------------------------------

    def ready(self, file: Held, headers: Headers) -> None:
        """It is clean. ``file`` is closed here, when nobody needs it any more."""
        if not self.waits:
            file.close()
            return
        self.state, self._file, self._headers = State.READY, file, headers
        self.seen = self.ticks()

    def stopped(self, reason: Reason, page: Page) -> None:
        """It will not be delivered, and has been recorded so."""
        if self.waits:
            self.state, self.reason, self._page = State.STOPPED, reason, Page(page.status, page.headers, page.body[:MAX_PAGE])

    # -- the file ------------------------------------------------------------------------------------------------------

    def take(self) -> Opened | None:
        """For one delivery; None: it is not ready, or under way too often. ``back`` ends it."""
        file = self._file
        if self.state is not State.READY or file is None or self.fetching >= MAX_FETCHING:
            return None
        opened = Opened(_descriptor(file.copy()), file.size, self._headers, f'"{file.sha256[:32]}"')
        self.fetching += 1
        return opened

    def sent(self, start: int, end: int) -> None:
        """Octets from ``start`` up to ``end`` have gone to the client. When that makes it whole, the download is over, and
        recorded. Raises where there is no room for the record."""
        file = self._file
        if file is None or not 0 <= start <= end <= file.size:
            return
        self._octets += end - start
        self._sent = _merged([*self._sent, (start, end)])
        if self._sent == [(0, file.size)]:
            self._over(Reason.OK, f"fetched from its page, which was shown {self.pages + 1} times")

    def back(self) -> None:
        """A delivery has ended, somehow."""
        self.fetching -= 1
        self.seen = self.ticks()

    # -- the end -------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Give it up where nobody waits for it any more. Raises where there is no room for the record; ask again."""
        now, config = self.ticks(), self.config
        if self.waits and now - self.seen > config.grace:
            self.give_up(Reason.DOWNLOAD_ABANDONED, f"its page has not asked for {config.grace:.0f} s")
        elif self.waits and self._stalls(now):
            self.give_up(Reason.UPSTREAM_TIMEOUT, f"nothing came for {STALL:.0f} s")
        elif self.state is State.READY and not self.fetching and now - self.seen > config.keep:
            self._over(Reason.DOWNLOAD_ABANDONED, f"it was clean, and not fetched within {config.keep:.0f} s")

    def give_up(self, reason: Reason, detail: str = "") -> None:
        """End it now. Raises where there is no room for the record."""
        if self.open:
            waited = self.waits
            self._over(reason, detail)
            if waited:
                self.task.cancel()

    def _stalls(self, now: float) -> bool:
        size, since = self._progress
        if self.arriving.size != size or self.arriving.ended or self.arriving.pressed:
            self._progress = (self.arriving.size, now)
            return False
        return now - since > STALL

    def _over(self, reason: Reason, detail: str) -> None:
        self.task.record(reason, detail, self._octets)
        self.state, self.reason = State.OVER, reason
        file, self._file = self._file, None
        self.seen = self.ticks()
        if file is not None:
            file.close()


def _descriptor(copy: BinaryIO) -> int:
    """A file without a name that holds what ``copy`` holds, and that another process can be handed."""
    with copy:
        try:
            return os.dup(copy.fileno())
        except OSError:  # it is in memory
            descriptor = os.memfd_create("arcus-download", os.MFD_CLOEXEC)
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(copy.read())
            return descriptor


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
