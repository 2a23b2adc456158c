"""Parts that several processes build from the configuration."""

import asyncio
import os
import signal

import pytest

from appliance.app.parts import drain_seconds, own_listeners, stop_on, worker_count
from tests.appliance.config.base import BASE, changed, loads


@pytest.mark.security
def test_no_client_is_sent_to_a_listener_of_ours() -> None:
    loaded = loads(BASE).config
    listens = [server.listen.address for server in loaded.server]
    for part in (loaded.icap_server, loaded.admin):
        listens += [part.listen.address] if part else []
    assert own_listeners(loaded) == listens
    assert len(listens) >= 2


@pytest.mark.parametrize(("text", "count"), [("workers: 2", 2), ("workers: auto", os.cpu_count()), ("workers: 1", 1)])
def test_worker_count(text: str, count: int) -> None:
    assert worker_count(loads(changed(("workers: 2", text))).config) == count


def test_the_drain_time_is_the_longest_of_any_listener() -> None:
    assert drain_seconds(loads(BASE).config) == 30.0
    listen = 'listen: {address: "127.0.0.1:8080"}'
    longer = changed((listen, f"{listen}\n    timeouts: {{drain: 45s}}"))
    assert drain_seconds(loads(longer).config) == 45.0


async def test_signals_set_the_event_and_are_remembered_in_order() -> None:
    stop, received = stop_on((signal.SIGUSR1, signal.SIGUSR2))
    try:
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGUSR2)
        await asyncio.wait_for(stop.wait(), 10)
        os.kill(os.getpid(), signal.SIGUSR1)
        while len(received) < 2:
            await asyncio.sleep(0)
        assert received == [signal.SIGUSR2, signal.SIGUSR1]
    finally:
        for each in (signal.SIGUSR1, signal.SIGUSR2):
            asyncio.get_running_loop().remove_signal_handler(each)
