"""Hook dispatch: order, inline and asynchronous, and the guard that fails closed."""

import asyncio

import pytest

from appliance.engine.hooks import HookTable


class Trace:
    def __init__(self, name: str, log: list[str], fail: bool = False) -> None:
        self.name, self.log, self.fail = name, log, fail

    def request(self, flow: str) -> None:
        self.log.append(self.name)
        if self.fail:
            raise RuntimeError(self.name)


class Slow(Trace):
    async def request(self, flow: str) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        Trace.request(self, flow)


class Hang(Trace):
    async def request(self, flow: str) -> None:  # type: ignore[override]
        await asyncio.Event().wait()


def failures() -> tuple[list[tuple[str, str]], object]:
    seen: list[tuple[str, str]] = []
    return seen, lambda name, args, error: seen.append((name, type(error).__name__))


def test_synchronous_hooks_run_inline_in_order() -> None:
    log: list[str] = []
    seen, on_failure = failures()
    table = HookTable([Trace("a", log), Trace("b", log)], 1.0)
    assert table.run("request", ("flow",), on_failure) is None
    assert (log, seen) == (["a", "b"], [])


async def test_an_asynchronous_hook_keeps_the_order() -> None:
    log: list[str] = []
    seen, on_failure = failures()
    table = HookTable([Trace("a", log), Slow("b", log), Trace("c", log), Slow("d", log)], 1.0)
    pending = table.run("request", ("flow",), on_failure)
    assert pending is not None
    assert log == ["a"]
    await pending
    assert (log, seen) == (["a", "b", "c", "d"], [])


@pytest.mark.parametrize("position", [0, 1, 2, 3])
async def test_a_failing_hook_stops_the_chain_and_is_reported(position: int) -> None:
    """security: stock mitmproxy goes on with the flow after a hook raised; here nothing after it runs."""
    log: list[str] = []
    seen, on_failure = failures()
    kinds = [Trace, Slow, Trace, Slow]
    addons = [kind(str(i), log, fail=i == position) for i, kind in enumerate(kinds)]
    pending = HookTable(addons, 1.0).run("request", ("flow",), on_failure)
    if pending is not None:
        await pending
    assert log == [str(i) for i in range(position + 1)]
    assert seen == [("request", "RuntimeError")]


async def test_a_hook_over_its_budget_is_a_failure() -> None:
    log: list[str] = []
    seen, on_failure = failures()
    pending = HookTable([Hang("h", log), Trace("after", log)], 0.05).run("request", ("flow",), on_failure)
    assert pending is not None
    await pending
    assert (log, seen) == ([], [("request", "TimeoutError")])


async def test_a_failing_report_does_not_escape() -> None:
    def on_failure(name: str, args: tuple[object, ...], error: BaseException) -> None:
        raise ValueError("again")

    log: list[str] = []
    assert HookTable([Trace("a", log, fail=True)], 1.0).run("request", ("flow",), on_failure) is None


def test_an_unknown_hook_name_runs_nothing() -> None:
    seen, on_failure = failures()
    assert HookTable([], 1.0).run("client_connected", (), on_failure) is None
    assert seen == []


async def test_a_hook_whose_help_was_cancelled_has_failed() -> None:
    """security: nobody has cancelled the hook itself, and without it there is no verdict."""
    gone = asyncio.get_running_loop().create_future()
    gone.cancel()

    class Waits:
        async def request(self, flow: str) -> None:
            await gone

    seen, on_failure = failures()
    pending = HookTable([Waits()], 1.0).run("request", ("flow",), on_failure)
    assert pending is not None
    await pending
    assert seen == [("request", "CancelledError")]


async def test_a_hook_that_is_cancelled_has_not_failed() -> None:
    seen, on_failure = failures()
    pending = HookTable([Hang("a", [])], 10.0).run("request", ("flow",), on_failure)
    assert pending is not None
    task = asyncio.ensure_future(pending)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == []
