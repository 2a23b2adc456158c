"""Forks of the context."""

from mitmproxy.connection import Client, Server
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import NextLayer

from appliance.engine.context import TaskContext
from appliance.engine.options import EAGER


def test_a_fork_has_everything_that_the_base_class_gives_it() -> None:
    client = Client(peername=("192.0.2.1", 1), sockname=("192.0.2.2", 2), timestamp_start=1.0)
    ours, stock = (kind(client, EAGER) for kind in (TaskContext, Context))  # type: ignore[arg-type]
    ours.server = stock.server = Server(address=("example.test", 443))
    for each in (ours, stock):
        NextLayer(each)
    fork = ours.fork()
    assert vars(fork).keys() == vars(stock.fork()).keys()
    assert (fork.client, fork.server, fork.options, fork.layers) == (client, ours.server, ours.options, ours.layers)


def test_what_is_changed_in_a_fork_stays_there() -> None:
    client = Client(peername=("192.0.2.1", 1), sockname=("192.0.2.2", 2), timestamp_start=1.0)
    ours = TaskContext(client, EAGER)  # type: ignore[arg-type]
    before, fork = ours.server, ours.fork().fork()
    assert isinstance(fork, TaskContext)
    NextLayer(fork)
    fork.server = Server(address=("example.test", 443))
    assert (ours.server, ours.layers) == (before, [])
