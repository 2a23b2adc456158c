"""Hook dispatch: a table built once, synchronous hooks run inline, and one guard that fails closed.

mitmproxy logs an exception in a hook and goes on with the flow, which lets traffic pass that nobody judged. Here an
exception, or an asynchronous hook that exceeds its budget, reaches ``on_failure``, and the rest of the chain is not run.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from appliance.domain.errors import TaskError

logger = logging.getLogger(__name__)

type Hook = Callable[..., Awaitable[None] | None]
type OnFailure = Callable[[str, tuple[object, ...], BaseException], None]

HOOKS = (
    "requestheaders",
    "request",
    "responseheaders",
    "response",
    "error",
    "tls_clienthello",
    "tls_start_client",
    "tls_start_server",
    "tls_established_client",
    "tls_established_server",
    "tls_failed_client",
    "tls_failed_server",
    "websocket_start",
    "websocket_message",
    "websocket_end",
    "tcp_start",
    "tcp_message",
    "tcp_end",
    "tcp_error",
)
"""The hooks that an addon may have. A method with another mitmproxy hook's name is refused when the table is built."""


@dataclass(frozen=True, slots=True)
class _Entry:
    addon: str
    hook: Hook


class HookTable:
    """``budget``: seconds that one asynchronous hook may take before the flow is stopped with ``internal_error``."""

    def __init__(self, addons: Sequence[object], budget: float) -> None:
        self._budget = budget
        self._table = {name: _entries(addons, name) for name in HOOKS}

    def run(self, name: str, args: tuple[object, ...], on_failure: OnFailure) -> Awaitable[None] | None:
        """Run every addon's hook in order. None: all done inline. Otherwise an awaitable that runs the rest; never raises."""
        entries = self._table.get(name, ())
        for index, entry in enumerate(entries):
            try:
                pending = entry.hook(*args)
            except Exception as error:
                _report(entry, name, args, error, on_failure)
                return None
            if pending is not None:
                return self._finish(name, args, entries, index, pending, on_failure)
        return None

    async def _finish(
        self, name: str, args: tuple[object, ...], entries: Sequence[_Entry], index: int,
        pending: Awaitable[None] | None, on_failure: OnFailure,
    ) -> None:  # fmt: skip
        while True:
            entry = entries[index]
            try:
                if pending is not None:
                    async with asyncio.timeout(self._budget):
                        await pending
                index += 1
                if index == len(entries):
                    return
                entry = entries[index]
                pending = entry.hook(*args)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                _report(entry, name, args, error, on_failure)  # what it waited for was cancelled, and not the hook
                return
            except Exception as error:
                _report(entry, name, args, error, on_failure)
                return


def _entries(addons: Sequence[object], name: str) -> tuple[_Entry, ...]:
    found = []
    for addon in addons:
        hook = getattr(addon, name, None)
        if hook is not None:
            found.append(_Entry(type(addon).__name__, hook))
    return tuple(found)


def _report(entry: _Entry, name: str, args: tuple[object, ...], error: BaseException, on_failure: OnFailure) -> None:
    # a failure with a name is no fault of the program: its trace would tell nothing, thousands of times while it lasts
    trace = None if isinstance(error, TaskError) else error
    logger.error("hook %s of %s failed; the task is stopped: %s", name, entry.addon, error, exc_info=trace)
    try:
        on_failure(name, args, error)
    except Exception:
        logger.exception("closing after a failed hook failed")


_ARGUMENTS: dict[type, tuple[str, ...]] = {}
"""The argument names of each kind of hook. mitmproxy asks the dataclass machinery for them at every hook."""


def arguments(hook: object) -> tuple[object, ...]:
    """What a hook is called with."""
    kind = type(hook)
    names = _ARGUMENTS.get(kind)
    if names is None:
        names = _ARGUMENTS[kind] = tuple(field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type]
    return tuple(getattr(hook, name) for name in names)
