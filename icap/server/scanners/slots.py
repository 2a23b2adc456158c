"""Places for scans at one time, in the order of asking: for tasks that wait, and for callbacks."""

import asyncio
from collections import deque
from collections.abc import Callable


class Slots:
    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def full(self) -> bool:
        """``take`` would have to wait."""
        return not self._free

    def take_now(self) -> bool:
        """Take one when that needs no waiting."""
        if not self._free:
            return False
        self._free -= 1
        return True

    def wait(self, ready: Callable[[], None]) -> None:
        """``ready`` is called once with a slot taken for it. Only when ``full``."""
        self._waiting.append(ready)

    def withdraw(self, ready: Callable[[], None]) -> bool:
        """Whether it still waited; otherwise it was given a slot."""
        try:
            self._waiting.remove(ready)
        except ValueError:
            return False
        return True

    async def take(self) -> None:
        if self.take_now():
            return
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def ready() -> None:
            if not given.done():
                given.set_result(None)

        self.wait(ready)
        try:
            await given
        except BaseException:
            if not self.withdraw(ready):
                self.release()  # it came in the same turn of the loop
            raise

    def release(self) -> None:
        """To whoever waits longest."""
        if self._waiting:
            self._waiting.popleft()()
        else:
            self._free += 1
