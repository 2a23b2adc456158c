"""Keys that take their time to make, made before anybody asks for them."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor

from certs.leaf import LeafKey


class SpareKeys:
    """Up to ``stock`` keys that nobody has had; 0: each is made when it is asked for.

    One at a time, in ``executor`` (None: the loop's own), where OpenSSL lets the interpreter go on: clients that ask for ever
    new names would take every core. A burst that uses up the stock waits for one key at a time.
    """

    def __init__(self, make: Callable[[], LeafKey], executor: Executor | None, stock: int) -> None:
        self._make, self._executor, self._stock = make, executor, stock
        self._ready: deque[LeafKey] = deque()
        self._making: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._ready)

    def prepare(self) -> None:
        """Go on making keys, beside everything else, until the stock is full."""
        if len(self._ready) < self._stock and self._making is None:
            self._start()

    async def take(self) -> LeafKey:
        """A key of the caller's own: at once if there is one, or when it is made."""
        while not self._ready:
            # who goes away does not take the key from the others
            await asyncio.shield(self._making or self._start())
        key = self._ready.popleft()
        self.prepare()
        return key

    def _start(self) -> asyncio.Task[None]:
        self._making = asyncio.get_running_loop().create_task(self._one_more())
        return self._making

    async def _one_more(self) -> None:
        try:
            self._ready.append(await asyncio.get_running_loop().run_in_executor(self._executor, self._make))
        finally:
            self._making = None
        self.prepare()
