"""mitmproxy's context and connections, without what costs time for each connection and request."""

import itertools
from dataclasses import dataclass, field
from typing import Self

from mitmproxy import options as moptions
from mitmproxy.connection import Client, Server
from mitmproxy.proxy.context import Context

_NUMBERS = itertools.count(1)


def _number() -> str:
    """An id that is one in this process, where mitmproxy makes a UUID: nothing outside of it sees connections' ids."""
    return str(next(_NUMBERS))


@dataclass(eq=False, repr=False, kw_only=True)
class TaskClient(Client):
    """One object for one connection, so identity is equality: connections are keys of every table on the hot path, and the
    base class hashes and compares 36 characters of an id each time."""

    id: str = field(default_factory=_number)
    __eq__ = object.__eq__
    __hash__ = object.__hash__


@dataclass(eq=False, repr=False, kw_only=True)
class TaskServer(Server):
    """As ``TaskClient``, towards a server. The base class looks at each attribute that is set, 40 times for a connection, to
    find an address that changes while it is open; here the address is set before that, and never again."""

    id: str = field(default_factory=_number)
    __eq__ = object.__eq__
    __hash__ = object.__hash__
    __setattr__ = object.__setattr__


class TaskContext(Context):
    """The base class makes a server for each fork, with an id of random octets, and throws it away: 20 us of each request."""

    def __init__(self, client: Client, options: moptions.Options) -> None:
        self.client, self.options, self.layers = client, options, []
        self.server = TaskServer(address=None, transport_protocol=client.transport_protocol)

    def fork(self) -> Self:
        """The same client, options and server; layers of its own."""
        made = self.__class__.__new__(self.__class__)
        made.client, made.options, made.server, made.layers = self.client, self.options, self.server, self.layers.copy()
        return made
